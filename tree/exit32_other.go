//go:build !amd64 && !arm64

package tree

// These have no 32-bit programs.
const (
	machine32   = -1
	exit32Flags = 0
	exit32      = ""
)
