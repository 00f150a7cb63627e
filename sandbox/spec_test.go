package sandbox

import "testing"

func TestWhatNoBackendPromises(t *testing.T) {
	good := Spec{ID: "env-1", Mounts: []Mount{{Source: "/srv/code", Target: "/var/task"}, {Source: "/srv/x", Target: "/opt/extensions/x"}}}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	for what, change := range map[string]func(*Spec){
		"no name":                     func(s *Spec) { s.ID = "" },
		"a folder":                    func(s *Spec) { s.ID = ".." },
		"a path":                      func(s *Spec) { s.ID = "a/b" },
		"capitals":                    func(s *Spec) { s.ID = "A" },
		"a relative source":           func(s *Spec) { s.Mounts = []Mount{{Source: "code", Target: "/var/task"}} },
		"a target that is not clean":  func(s *Spec) { s.Mounts = []Mount{{Source: "/srv", Target: "/var/task/../x"}} },
		"the root":                    func(s *Spec) { s.Mounts = []Mount{{Source: "/srv", Target: "/"}} },
		"/tmp":                        func(s *Spec) { s.Mounts = []Mount{{Source: "/srv", Target: "/tmp"}} },
		"a name that begins like one": func(s *Spec) { s.Mounts = []Mount{{Source: "/srv", Target: "/option"}} },
	} {
		s := good
		change(&s)
		if s.Check() == nil {
			t.Errorf("%s passes", what)
		}
	}
}
