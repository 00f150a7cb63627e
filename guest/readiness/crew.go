package readiness

// Wants says which events an extension subscribed to.
type Wants uint8

// The events.
const (
	Invoke Wants = 1 << iota
	Shutdown
)

// Names are the events as the API spells them, sorted.
func (w Wants) Names() []string {
	names := []string{}
	if w&Invoke != 0 {
		names = append(names, "INVOKE")
	}
	if w&Shutdown != 0 {
		names = append(names, "SHUTDOWN")
	}
	return names
}

// Member is one participant.
type Member struct {
	Role  Role
	Name  string // of an extension: the base name of its file, or what it registered as
	State State
	Wants Wants
}

// Crew is everybody who takes part; the runtime is number 0. It belongs to one goroutine or lock.
type Crew struct{ Members []Member }

// NewCrew is a runtime that has not been started, and nobody else.
func NewCrew() Crew { return Crew{Members: []Member{{Role: Runtime}}} }

// Add takes in an extension and returns its number.
func (c *Crew) Add(r Role, name string) int {
	c.Members = append(c.Members, Member{Role: r, Name: name})
	return len(c.Members) - 1
}

// Find returns the number of the extension of that name, 0 when there is none.
func (c *Crew) Find(name string) int {
	for i := 1; i < len(c.Members); i++ {
		if c.Members[i].Name == name {
			return i
		}
	}
	return 0
}

// Step moves one participant and says what that means for all.
func (c *Crew) Step(who int, e Event) (Verdict, Meaning) {
	m := &c.Members[who]
	before := c.look()
	to, verdict := Next(m.Role, m.State, e)
	m.State = to
	after := c.look()
	return verdict, after &^ before
}

// Meaning is what has become true.
type Meaning uint8

// The facts about everybody.
const (
	AllRegistered Meaning = 1 << iota // every external extension has registered and none has failed: the runtime may be started. E-002
	RuntimeParked                     // the runtime waits in a next
	AllParked                         // so does everybody: the phase is over. E-007
)

func (c *Crew) look() Meaning {
	m := AllRegistered | RuntimeParked | AllParked
	for i := range c.Members {
		s := c.Members[i].State
		switch {
		case i == 0 && s != Ready && s != RestoreReady:
			m &^= RuntimeParked | AllParked
		case i > 0 && s != Ready:
			m &^= AllParked
		}
		if i > 0 && c.Members[i].Role == External && s != Registered && s != Ready && s != Running {
			m &^= AllRegistered
		}
	}
	return m
}

// Holds says whether all of the facts are true now.
func (c *Crew) Holds(m Meaning) bool { return c.look()&m == m }
