package bootlog

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// printable is a text that a console shows without obeying anything in it.
// Names and messages come from servers, disks and trees: an escape sequence, its
// one-byte form among the C1 controls, or a mark that turns the direction of
// what follows would be obeyed. What cannot be printed is written as Go writes
// it, \u202e or \x9b. The end of a line becomes "; ".
func printable(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r == '\n':
			b.WriteString("; ")
		case r == '\t':
			b.WriteByte(' ')
		case strconv.IsPrint(r):
			b.WriteRune(r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
		i += size
	}
	return b.String()
}
