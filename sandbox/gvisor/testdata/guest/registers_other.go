//go:build !amd64

package main

func watchRegisters(int) {}

func registersLost() []byte { return nil }
