// Package printable makes texts that a terminal shows without obeying anything in
// them. Names and messages come from servers, disks and trees: an escape sequence,
// its one-byte form among the C1 controls, or a mark that turns the direction of
// what follows would be obeyed.
package printable

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Text is a text in one line. What cannot be printed is written as Go writes it:
// \n, \u202e or \x9b.
func Text(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r == '\n':
			b.WriteString(`\n`)
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
