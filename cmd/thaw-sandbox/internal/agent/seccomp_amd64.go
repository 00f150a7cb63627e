package agent

import _ "embed"

//go:generate go run ./gen seccomp_amd64.gob

//go:embed seccomp_amd64.gob
var seccompPrograms []byte
