//go:build !amd64 && !arm64

package main

// There is no smaller brother of these.
const (
	machine32   = -1
	exit32Flags = 0
	exit32      = ""
)
