// Package spec holds no code: its folder is the reference of what AWS Lambda does, as far as thaw follows it. Comments and tests cite its
// sections ("spec 1.5") and the numbered statements of its checklists (E-013, C-106, S-001).
//
// tests.md says which test holds which statement. It is made from the tests' comments:
//
//	go test ./docs/spec -update
package spec
