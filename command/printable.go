package command

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Printable escapes what a terminal would obey, and line ends: files of a tree may
// have any names.
func Printable(text string) string {
	var b strings.Builder
	for i, size := 0, 0; i < len(text); i += size {
		var r rune
		r, size = utf8.DecodeRuneInString(text[i:])
		char := text[i : i+size]
		if char == "\xef\xbf\xbd" || r != utf8.RuneError && unicode.IsGraphic(r) && !unicode.Is(unicode.Bidi_Control, r) {
			b.WriteString(char)
		} else {
			quoted := strconv.QuoteToASCII(char)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
	}
	return b.String()
}
