package runtimeapi

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"thaw/guest/readiness"
	"thaw/guest/wire"
)

// The Extensions API. Source: AWS Lambda Developer Guide, Extensions API; aws-lambda-runtime-interface-emulator,
// internal/lambda/rapi/handler; spec 3.

const (
	extensionsAt = "/2020-01-01/extension"
	// MaxExtensions bounds how many there are in an environment, external and internal together.
	MaxExtensions = 10
	// maxExtensionBody bounds what an extension posts.
	maxExtensionBody = 1 << 20
)

// Error types of the Extensions API's answers.
const (
	errExtensionName       = "Extension.InvalidExtensionName"
	errExtensionEvent      = "Extension.InvalidEventType"
	errExtensionState      = "Extension.InvalidExtensionState"
	errExtensionClosed     = "Extension.RegistrationClosed"
	errExtensionsTooMany   = "Extension.TooManyExtensions"
	errExtensionNoID       = "Extension.MissingExtensionIdentifier"
	errExtensionBadID      = "Extension.InvalidExtensionIdentifier"
	errExtensionUnknownID  = "Extension.UnknownExtensionIdentifier"
	errExtensionNoHeader   = "Extension.MissingHeader"
	extensionIDHeader      = "lambda-extension-identifier"
	extensionErrorType     = "lambda-extension-function-error-type"
	eventInvoke            = "INVOKE"
	eventShutdown          = "SHUTDOWN"
	featureAccountID       = "accountId"
	shutdownNotForInternal = "ShutdownEventNotSupportedForInternalExtension"
)

// extension is what the API keeps of a participant beside its state.
type extension struct {
	id        string // empty: it has not registered
	conn      *conn  // parked in event/next
	late      []byte // an event that came while it was not parked: the answer of its next call
	errorType string // that it reported, or that its launch failed of
}

// AddExternal takes in an extension that is about to be launched.
func (a *API) AddExternal(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.crew.Add(readiness.External, name)
	a.exts = append(a.exts, &extension{})
}

// Launched tells the host that an extension has a process.
func (a *API) Launched(name string) error {
	a.mu.Lock()
	m := a.extensionLocked(a.crew.Find(name))
	a.mu.Unlock()
	if m.State != readiness.Started.String() { // it was quicker, and has told itself
		return nil
	}
	return a.send(wire.KindExtension, m, nil)
}

// LaunchFailed says that an extension has no process.
func (a *API) LaunchFailed(name, errorType string) error {
	a.mu.Lock()
	who := a.crew.Find(name)
	a.crew.Step(who, readiness.LaunchFailed)
	a.exts[who].errorType = errorType
	m := a.extensionLocked(who)
	a.mu.Unlock()
	return a.send(wire.KindExtension, m, nil)
}

// ExtensionExited says that the process of an external extension has ended, and returns the error that this is: what the
// extension reported before, or a crash.
func (a *API) ExtensionExited(name string, clean bool) (errorType string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	who, e := a.crew.Find(name), readiness.ProcessFailed
	if clean {
		e = readiness.ProcessExited
	}
	a.crew.Step(who, e)
	switch a.crew.Members[who].State {
	case readiness.InitError:
		return ExtensionInitError
	case readiness.ExitError:
		return ExtensionExitError
	}
	return ExtensionCrash
}

// Shutdown hands the SHUTDOWN event to the external extensions that want it, now or with their next call, and returns the names
// of those that get none. deadline is Unix milliseconds.
func (a *API) Shutdown(reason string, deadline int64) (others []string) {
	body, err := json.Marshal(struct {
		EventType  string `json:"eventType"`
		DeadlineMs int64  `json:"deadlineMs"`
		Reason     string `json:"shutdownReason"`
	}{eventShutdown, deadline, reason})
	if err != nil {
		panic(err) // two texts and a number
	}
	a.mu.Lock()
	invited := a.inviteLocked(readiness.Shutdown)
	for _, m := range a.crew.Members[1:] {
		if m.Role == readiness.External && m.Wants&readiness.Shutdown == 0 {
			others = append(others, m.Name)
		}
	}
	a.mu.Unlock()
	a.hand(invited, NewUUID(), body)
	return others
}

// inviteLocked moves the extensions that want an event. Those that are not parked get it with their next call.
func (a *API) inviteLocked(want readiness.Wants) (invited []*extension) {
	for i := 1; i < len(a.exts); i++ {
		if a.crew.Members[i].Wants&want != 0 {
			a.crew.Step(i, readiness.Delivered)
			invited = append(invited, a.exts[i])
		}
	}
	return invited
}

// hand gives an event to those that were invited.
func (a *API) hand(invited []*extension, event string, body []byte) {
	for _, e := range invited {
		answer := extensionAnswer(e.id, event, body)
		a.mu.Lock()
		c := e.conn
		e.conn = nil
		if c == nil {
			e.late = answer
		}
		a.mu.Unlock()
		if c != nil {
			c.release(answer, nil)
		}
	}
}

// invokeEvent is the event of an invocation. Payloads are not shown to extensions. E-086 to E-088.
func invokeEvent(i *wire.Invoke) []byte {
	type tracing struct {
		Type  string `json:"type"`
		Value string `json:"value"`
	}
	event := struct {
		EventType   string   `json:"eventType"`
		DeadlineMs  int64    `json:"deadlineMs"`
		RequestID   string   `json:"requestId"`
		FunctionARN string   `json:"invokedFunctionArn"`
		Tracing     *tracing `json:"tracing,omitempty"`
	}{eventInvoke, i.DeadlineUnixMs, i.RequestID, i.FunctionARN, nil}
	if i.TraceID != "" {
		event.Tracing = &tracing{"X-Amzn-Trace-Id", i.TraceID}
	}
	body, err := json.Marshal(event)
	if err != nil {
		panic(err) // texts and a number
	}
	return body
}

func extensionAnswer(id, event string, body []byte) []byte {
	b := make([]byte, 0, 256+len(body))
	b = append(b, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"...)
	b = appendHeader(b, "Lambda-Extension-Identifier", id)
	b = appendHeader(b, "Lambda-Extension-Event-Identifier", event)
	b = fmt.Appendf(b, "Content-Length: %d\r\n\r\n", len(body))
	return append(b, body...)
}

// NewUUID is a random UUID.
func NewUUID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails: crypto/rand
	return uuid(b, 4)
}

// eventID is the identifier of an invocation's event. It follows from the attempt's own, which is as random: the kernel
// need not be asked for anything.
func eventID(i *wire.Invoke) string {
	sum := sha256.Sum256([]byte("event " + i.InvocationID + " " + i.RequestID))
	return uuid([16]byte(sum[:16]), 8)
}

// uuid gives bytes the form of a UUID of a version. Source: RFC 9562, section 4.
func uuid(b [16]byte, version byte) string {
	b[6], b[8] = b[6]&0x0f|version<<4, b[8]&0x3f|0x80
	var text [36]byte
	hex.Encode(text[0:8], b[:4])
	hex.Encode(text[9:13], b[4:6])
	hex.Encode(text[14:18], b[6:8])
	hex.Encode(text[19:23], b[8:10])
	hex.Encode(text[24:], b[10:])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	return string(text[:])
}

// isUUID says whether s has the form of one.
func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		c := s[i] | 0x20
		dash := i == 8 || i == 13 || i == 18 || i == 23
		if dash != (s[i] == '-') || !dash && !(c >= '0' && c <= '9' || c >= 'a' && c <= 'f') {
			return false
		}
	}
	return true
}

// extensionRoute finds the call of a path below extensionsAt.
func (a *API) extensionRoute(c *conn, q *request) (method string, handle func(*conn, *request) error) {
	if a.noExts {
		return "", a.missing
	}
	a.noteExtension(c)
	switch q.path[len(extensionsAt):] {
	case "/register":
		return "POST", a.register
	case "/event/next":
		return "GET", a.eventNext
	case "/init/error":
		return "POST", func(c *conn, q *request) error { return a.extensionFailed(c, q, readiness.CallInitError) }
	case "/exit/error":
		return "POST", func(c *conn, q *request) error { return a.extensionFailed(c, q, readiness.CallExitError) }
	}
	return "", a.missing
}

// noteExtension says that a connection is no runtime's.
func (a *API) noteExtension(c *conn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	c.extension = true
}

// extensionBody reads a body; done: the caller was answered.
func (a *API) extensionBody(c *conn, q *request) (body []byte, done bool, err error) {
	if err = a.welcome(c, q); err == nil {
		body, err = c.in.whole(q, maxExtensionBody)
	}
	switch {
	case err == nil:
		return body, false, nil
	case errors.Is(err, errTooLarge):
		return nil, true, a.answer(c, q, failure(413, errEntityTooLarge, fmt.Sprintf(tooLargeForRuntime, maxExtensionBody)))
	}
	return nil, true, a.broken(c, err)
}

// register answers POST /2020-01-01/extension/register. 200 with an identifier; everything else is a 403, as from AWS's core.
func (a *API) register(c *conn, q *request) error {
	body, done, err := a.extensionBody(c, q)
	if done {
		return err
	}
	name := q.header("lambda-extension-name")
	if name == "" {
		return a.answer(c, q, failure(403, errExtensionName, "Empty extension name"))
	}
	var wish struct {
		Events []string        `json:"events"`
		Keys   json.RawMessage `json:"configurationKeys"`
	}
	if err := json.Unmarshal(body, &wish); err != nil {
		return a.answer(c, q, failure(403, errBadRequest, err.Error()))
	}
	if keys := strings.TrimSpace(string(wish.Keys)); keys != "" && keys != "null" && keys != "[]" {
		return a.answer(c, q, failure(403, errBadRequest, "configurationKeys are deprecated; request does not accept any configuration keys"))
	}
	a.mu.Lock()
	who, meaning, refused := a.registerLocked(name, wish.Events)
	if refused != nil {
		a.mu.Unlock()
		return a.answer(c, q, *refused)
	}
	id, told := a.exts[who].id, a.extensionLocked(who)
	a.mu.Unlock()
	if err := a.send(wire.KindExtension, told, nil); err != nil {
		return a.answer(c, q, failure(500, errInternal, "Internal Server Error"))
	}
	f := a.function
	if !slices.ContainsFunc(strings.Split(q.header("lambda-extension-accept-feature"), ","), func(s string) bool { return strings.TrimSpace(s) == featureAccountID }) {
		f.AccountID = ""
	}
	answer, err := json.Marshal(f)
	if err != nil {
		panic(err) // texts
	}
	err = a.answer(c, q, reply{status: 200, contentType: "application/json", body: answer, identifier: id})
	if meaning&readiness.AllRegistered != 0 {
		a.host.AllRegistered()
	}
	return err
}

// registerLocked checks the events before the state, as AWS's core does.
func (a *API) registerLocked(name string, events []string) (who int, meaning readiness.Meaning, refused *reply) {
	no := func(errorType, message string) (int, readiness.Meaning, *reply) {
		r := failure(403, errorType, message)
		return 0, 0, &r
	}
	who = a.crew.Find(name)
	external := who > 0 && a.crew.Members[who].Role == readiness.External
	var wants readiness.Wants
	for _, e := range events {
		switch {
		case e == eventInvoke:
			wants |= readiness.Invoke
		case e == eventShutdown && external:
			wants |= readiness.Shutdown
		case e == eventShutdown:
			return no(errExtensionEvent, e+": "+shutdownNotForInternal)
		default:
			return no(errExtensionEvent, e+": ErrorInvalidEventType")
		}
	}
	if !external {
		switch {
		case a.stateLocked() != readiness.Started: // it has called next: nobody new is waited for
			return no(errExtensionClosed, "Extension registration closed already")
		case who > 0:
			return no(errExtensionState, "Extension with this name already registered")
		case len(a.exts)-1 >= MaxExtensions:
			return no(errExtensionsTooMany, fmt.Sprintf("Extension limit (%d) reached", MaxExtensions))
		}
		who = a.crew.Add(readiness.Internal, name)
		a.exts = append(a.exts, &extension{})
	}
	from := a.crew.Members[who].State
	verdict, meaning := a.crew.Step(who, readiness.CallRegister)
	if verdict == readiness.Refuse {
		return no(errExtensionState, readiness.Refusal("extension "+name, from, readiness.CallRegister))
	}
	a.crew.Members[who].Wants = wants
	a.exts[who].id = NewUUID()
	return who, meaning, nil
}

// extensionLocked is what the host is told of an extension.
func (a *API) extensionLocked(who int) wire.Extension {
	m := a.crew.Members[who]
	return wire.Extension{Generation: a.generation, Name: m.Name, Internal: m.Role == readiness.Internal, State: m.State.String(),
		Events: m.Wants.Names(), ErrorType: a.exts[who].errorType}
}

// whoLocked finds the extension that calls.
func (a *API) whoLocked(q *request) (who int, refused *reply) {
	id := q.header(extensionIDHeader)
	var r reply
	switch {
	case id == "":
		r = failure(403, errExtensionNoID, "Missing Lambda-Extension-Identifier header")
	case !isUUID(id):
		r = failure(403, errExtensionBadID, "Invalid Lambda-Extension-Identifier")
	default:
		for i, e := range a.exts {
			if i > 0 && e.id == strings.ToLower(id) {
				return i, nil
			}
		}
		r = failure(403, errExtensionUnknownID, "Unknown extension "+id)
	}
	return 0, &r
}

// eventNext answers GET /2020-01-01/extension/event/next: it parks until there is an event that the extension wants. The first
// call ends its part of Init, a later one its part of the invocation. It may park for days, like the runtime's.
func (a *API) eventNext(c *conn, q *request) error {
	if err := c.in.discard(q); err != nil {
		return a.broken(c, err)
	}
	a.mu.Lock()
	who, refused := a.whoLocked(q)
	if refused != nil {
		a.mu.Unlock()
		return a.answer(c, q, *refused)
	}
	e, from := a.exts[who], a.crew.Members[who].State
	verdict, meaning := a.crew.Step(who, readiness.CallNext)
	if verdict == readiness.Refuse {
		a.mu.Unlock()
		return a.answer(c, q, failure(403, errExtensionState, readiness.Refusal("extension "+e.id, from, readiness.CallNext)))
	}
	if late := e.late; late != nil {
		e.late = nil
		a.crew.Step(who, readiness.Delivered)
		a.mu.Unlock()
		return c.write(late, nil)
	}
	if a.closed {
		a.mu.Unlock()
		return io.ErrClosedPipe
	}
	e.conn, c.parked = c, true
	over, told := a.over, a.extensionLocked(who)
	over.RuntimeUs = time.Since(a.doneAt).Microseconds()
	a.mu.Unlock()
	if from == readiness.Registered {
		if err := a.send(wire.KindExtension, told, nil); err != nil {
			return err
		}
	}
	if meaning&readiness.AllParked != 0 {
		return a.sendParked(over, meaning)
	}
	return nil
}

// extensionFailed answers POST .../init/error and .../exit/error: no other call of the extension succeeds any more, and it is
// expected to exit.
func (a *API) extensionFailed(c *conn, q *request, call readiness.Event) error {
	if _, done, err := a.extensionBody(c, q); done {
		return err
	}
	a.mu.Lock()
	who, refused := a.whoLocked(q)
	if refused != nil {
		a.mu.Unlock()
		return a.answer(c, q, *refused)
	}
	errorType := q.header(extensionErrorType)
	if errorType == "" {
		a.mu.Unlock()
		return a.answer(c, q, failure(403, errExtensionNoHeader, "Missing Lambda-Extension-Function-Error-Type header"))
	}
	e, m := a.exts[who], a.crew.Members[who]
	verdict, _ := a.crew.Step(who, call)
	if verdict == readiness.Refuse {
		a.mu.Unlock()
		return a.answer(c, q, failure(403, errExtensionState, readiness.Refusal("extension "+e.id, m.State, call)))
	}
	first := a.crew.Members[who].State != m.State
	if first {
		e.errorType = errorType[:min(len(errorType), maxErrorType)]
	}
	told := a.extensionLocked(who)
	a.mu.Unlock()
	if first {
		if err := a.send(wire.KindExtension, told, nil); err != nil {
			return a.answer(c, q, failure(500, errInternal, "Internal Server Error"))
		}
		a.host.Condemned(m.Name)
	}
	return a.answer(c, q, accepted)
}
