//go:build !(linux && amd64)

package kvm

import "context"

func probe(context.Context) error {
	return &UnusableError{Reason: "microVMs run on x86-64 hosts with Linux only", Absent: true}
}
