// Package uniquetest holds the test that copies of one snapshot never draw the same random value: real runtimes in real sandboxes, compared value by
// value. It has no code of its own. docs/uniqueness.md says what it covers.
package uniquetest
