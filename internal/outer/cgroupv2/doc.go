// Package cgroupv2 holds the tests of a whole server on a host whose kernel has control groups of version 2 alone, as a
// Debian 12 has them. Many hosts that tests run on have version 1: so these run in an outer machine (package outer), and
// are skipped everywhere else.
package cgroupv2
