package config

import (
	"fmt"
	"net"
	"strings"
	"testing"
)

func TestSecrets(t *testing.T) {
	s, err := ParseSecrets("\ufeff# the room\r\n" +
		"10.0.0.7 node-7 geheim-7\r\n" +
		"\n" +
		"  52-54-00-AB-00-01\tnode-m geheim-m nas geheim-nas # by its NIC\n" +
		"iqn.2013-09.org.Example:Node-9 node-9 \"geheim 9 #\"\n" +
		"naa.52004567BA64678D n geh\"eim#\n" +
		"default anybody \"#geheim\"")
	if err != nil {
		t.Fatal(err)
	}
	mac := net.HardwareAddr{0x52, 0x54, 0, 0xab, 0, 1}
	for _, tt := range []struct {
		name      string
		lease     Lease
		initiator string
		want      Credentials
	}{
		{"initiator before all", Lease{Addr: addr("10.0.0.7"), MAC: mac}, "iqn.2013-09.org.example:NODE-9", Credentials{User: "node-9", Password: "geheim 9 #"}},
		{"naa", Lease{}, "naa.52004567ba64678d", Credentials{User: "n", Password: "geh\"eim#"}},
		{"MAC before address", Lease{Addr: addr("10.0.0.7"), MAC: mac}, "iqn.x:y", Credentials{User: "node-m", Password: "geheim-m", UserIn: "nas", PasswordIn: "geheim-nas"}},
		{"address", Lease{Addr: addr("::ffff:10.0.0.7"), MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}}, "iqn.x:y", Credentials{User: "node-7", Password: "geheim-7"}},
		{"default", Lease{Addr: addr("10.0.0.8")}, "iqn.x:y", Credentials{User: "anybody", Password: "#geheim"}},
		{"nothing known", Lease{}, "", Credentials{User: "anybody", Password: "#geheim"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, ok := s.For(tt.lease, tt.initiator); !ok || got != tt.want {
				t.Errorf("%s: For = %+v, %v, want %+v", tt.name, got, ok, tt.want)
			}
		})
	}
	for _, v := range []any{s, &s, []Secrets{s}, Credentials{User: "u", Password: "geheim", PasswordIn: "geheim2"}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			if text := fmt.Sprintf(verb, v); strings.Contains(text, "geheim") || strings.Contains(text, fmt.Sprintf("%x", "geheim")) {
				t.Errorf("a secret in %s", text)
			}
		}
	}
	for _, text := range []string{"", "\n# nobody\n", "10.0.0.7 u p"} {
		t.Run(text, func(t *testing.T) {
			s, err := ParseSecrets(text)
			if c, ok := s.For(Lease{Addr: addr("10.0.0.8")}, ""); err != nil || ok || c != (Credentials{}) {
				t.Errorf("ParseSecrets(%q): For = %v, %v, %v, want none", text, c, ok, err)
			}
		})
	}
}

// Errors tell the line and what to write, and nothing of the file.
func TestSecretsErrors(t *testing.T) {
	for text, want := range map[string]string{
		"geheim":                                            "line 1: has 1 fields: write MATCH USER PASSWORD",
		"\n#\n10.0.0.7 geheim":                              "line 3: has 2 fields",
		"10.0.0.7 u geheim ui":                              "line 1: has 4 fields",
		"10.0.0.7 u geheim ui geheim2 x":                    "line 1: has 6 fields",
		"geheim u 10.0.0.7":                                 "line 1: does not begin with an IPv4 address",
		"2001:db8::geheim u p":                              "does not begin with",
		"2001:db8::7 u geheim":                              "does not begin with",
		"0.0.0.0 u geheim":                                  "does not begin with",
		"iqn.2013-09.geheim:%m u geheim":                    "no template",
		"iqn. u geheim":                                     "does not begin with",
		"Default u geheim":                                  "does not begin with",
		`10.0.0.7 u "geheim`:                                "line 1: a quote is not closed",
		`10.0.0.7 u "geheim"x`:                              "line 1: a quote is closed inside a field",
		`10.0.0.7 u ""`:                                     "line 1: a user or password is empty",
		`10.0.0.7 "" geheim`:                                "line 1: a user or password is empty",
		"10.0.0.7 u geheim\x00":                             "line 1: has a control character",
		"10.0.0.7 u geheim ui geheim":                       "line 1: the two passwords are the same",
		"10.0.0.7 u geheim\n10.0.0.7 u v":                   "line 2: is for the same node as line 1",
		"default u geheim\n\ndefault x y":                   "line 3: is for the same node as line 1",
		"default u g\nx u geheim\ny u p\n":                  "line 3: does not begin",
		"02-00-00-00-00-0a u geheim\n02:00:00:00:00:0A u p": "line 2: is for the same node as line 1",
		"10.0.0.7 u geheim" + strings.Repeat("x", 256):      "line 1: a user or password is longer than 255 bytes",
	} {
		t.Run(text, func(t *testing.T) {
			s, err := ParseSecrets(text)
			if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "geheim") {
				t.Errorf("ParseSecrets(%q) = %v, want %q", text, err, want)
			}
			if _, ok := s.For(Lease{Addr: addr("10.0.0.7")}, ""); ok {
				t.Errorf("ParseSecrets(%q): an error and secrets", text)
			}
		})
	}
}

// PID 1 reads the file, and what it says of it everybody may read.
func FuzzSecrets(f *testing.F) {
	for _, s := range []string{"", "10.0.0.7 node geheim", "default u p ui pi # comment", `52:54:00:12:34:56 "a b" "#c"`,
		"iqn.2013-09.org.example:x u p\r\n\ufeff", `x "`, `"" "" ""`, "default u p\ndefault u p"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSecrets(text)
		if err != nil {
			// Messages are made of our own texts, which have none of these.
			if strings.ContainsAny(err.Error(), "KQVXZ\x00\x1b") {
				t.Errorf("error %q holds what was in the file", err)
			}
			if _, ok := s.For(Lease{}, ""); ok {
				t.Error("an error and secrets")
			}
			return
		}
		for match, c := range s.entries {
			if match == "" || c.User == "" || c.Password == "" || (c.UserIn == "") != (c.PasswordIn == "") || c.Password == c.PasswordIn {
				t.Errorf("match %q: user %q, %d and %d characters", match, c.User, len(c.Password), len(c.PasswordIn))
			}
			if got := parseMatch(match); got != match {
				t.Errorf("match %q is read as %q", match, got)
			}
			if strings.ContainsAny(c.User+c.Password+c.UserIn+c.PasswordIn, "\n\x00") {
				t.Errorf("match %q: a control character", match)
			}
		}
	})
}
