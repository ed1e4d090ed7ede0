package hostname

import (
	"strings"
	"testing"
)

func TestValid(t *testing.T) {
	label := strings.Repeat("x", maxLabel)
	for name, want := range map[string]bool{
		"node11": true, "node11.sidus.test": true, "N-1": true, "7": true, "a_b": true, "_srv.test": true, label: true,
		strings.Repeat("abc.", 63) + "a":  true,
		strings.Repeat("abc.", 63) + "ab": false,
		label + "x":                       false,
		"":                                false,
		"-x":                              false,
		"x-":                              false,
		"a.-b":                            false,
		"a-.b":                            false,
		".x":                              false,
		"x.":                              true,
		".":                               false,
		"x..":                             false,
		"a..b":                            false,
		"x\ny":                            false,
		"x y":                             false,
		"$(reboot)":                       false,
		"../x":                            false,
		"é":                               false,
		"a.test\n[Service]\nExecStart=/bin/false": false,
	} {
		t.Run(name, func(t *testing.T) {
			if got := Valid(name); got != want {
				t.Errorf("Valid(%q) = %v, want %v", name, got, want)
			}
		})
	}
}
