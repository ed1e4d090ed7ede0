package printable

import (
	"strings"
	"testing"
	"unicode"
)

func TestText(t *testing.T) {
	for text, want := range map[string]string{
		"plain, with é and %":                                "plain, with é and %",
		"a\x1b[2Jb\u009b2Jc":                                 `a\u001b[2Jb\u009b2Jc`,
		"a\nb\rc\td\x00e\x7ff":                               `a\nb\u000dc\u0009d\u0000e\u007ff`,
		"\xff and a \x9b alone":                              `\xff and a \x9b alone`,
		"a\u202eb\u2066c\u200fd\u061ce\u200bf\u2028g\ufeffh": `a\u202eb\u2066c\u200fd\u061ce\u200bf\u2028g\ufeffh`,
		"a\U000E0041b":                                       `a\U000e0041b`,
		"日 \U0001F642, \ufffd":                               "日 \U0001F642, \ufffd",
	} {
		if got := Text(text); got != want {
			t.Errorf("Text(%q) = %q, want %q", text, got, want)
		}
	}
}

// Whatever it is, there is nothing in it that is not printed.
func FuzzText(f *testing.F) {
	f.Add("a\x1b[2J\u202e\xff\n")
	f.Fuzz(func(t *testing.T, s string) {
		if i := strings.IndexFunc(Text(s), func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 {
			t.Errorf("Text(%q) = %q", s, Text(s))
		}
	})
}
