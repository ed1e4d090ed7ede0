package iscsi

import (
	"strings"
	"testing"
)

func TestNormalizeName(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		// The examples of RFC 7143, section 4.2.7.
		{"iqn.2001-04.com.example:storage.tape1.sys1.xyz", "iqn.2001-04.com.example:storage.tape1.sys1.xyz"},
		{"iqn.2001-04.com.example", "iqn.2001-04.com.example"},
		{"eui.02004567A425678D", "eui.02004567a425678d"},
		{"naa.52004567BA64678D", "naa.52004567ba64678d"},
		{"naa.62004567BA64678D0123456789ABCDEF", "naa.62004567ba64678d0123456789abcdef"},
		{"IQN.2013-09.org.Example:10.1.2.3", "iqn.2013-09.org.example:10.1.2.3"},
		{"iqn.2013-09.org.example:a:b:52-54-00", "iqn.2013-09.org.example:a:b:52-54-00"},
		{"iqn.2013-09.org.example:Größe", "iqn.2013-09.org.example:größe"},
		{"", ""},
		{"iqn", ""},
		{"iqn.2013-13.org.example:x", ""},
		{"iqn.2013-9.org.example:x", ""},
		{"iqn.2013-09", ""},
		{"iqn.2013-09.:x", ""},
		{"iqn.2013-09.org..example:x", ""},
		{"iqn.2013-09.org.example:", ""},
		{"iqn.2013-09.org.example:a b", ""},
		{"iqn.2013-09.org.example:a_b", ""},
		{"iqn.2013-09.org.example:%i", ""},
		{"iqn.2013-09.org.example:\xff", ""},
		{"iqn.2013-09.org.example:" + strings.Repeat("x", 200), ""},
		{"eui.02004567A425678", ""},
		{"naa.52004567BA64678G", ""},
		{"nqn.2014-08.org.example:x", ""},
	} {
		t.Run(tt.in, func(t *testing.T) {
			got, err := NormalizeName(tt.in)
			if got != tt.want || (err != nil) != (tt.want == "") {
				t.Errorf("%q: got %q, %v, want %q", tt.in, got, err, tt.want)
			}
		})
	}
}

func TestParsePortal(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want string
	}{
		{"10.0.0.1", "10.0.0.1:3260"},
		{"10.0.0.1:860", "10.0.0.1:860"},
		{"10.0.0.1:3260,1", "10.0.0.1:3260"},
		{"10.0.0.1,12", "10.0.0.1:3260"},
		{"10.0.0.1:", "10.0.0.1:3260"},
		{"nas.example.org:3261", "nas.example.org:3261"},
		{"[fe80::1]:3261", "[fe80::1]:3261"},
		{"[fe80::1%eth0]", "[fe80::1%eth0]:3260"},
		{"2001:db8::1", "[2001:db8::1]:3260"},
		{"", ""},
		{":3260", ""},
		{"10.0.0.1:0", ""},
		{"10.0.0.1:70000", ""},
		{"10.0.0.1:x", ""},
		{"[nas]:1", ""},
		{"[::1", ""},
		{"[::1]3260", ""},
		{"a:b:c", ""},
		{"a b", ""},
		{"10.0.0.1\x00:1", ""},
	} {
		t.Run(tt.in, func(t *testing.T) {
			portal, err := ParsePortal(tt.in)
			got := ""
			if err == nil {
				got = portal.String()
			}
			if got != tt.want {
				t.Errorf("%q: got %q, %v, want %q", tt.in, got, err, tt.want)
			}
		})
	}
}

func TestNodeISID(t *testing.T) {
	a, b := NodeISID("iqn.2013-09.org.example:a"), NodeISID("iqn.2013-09.org.example:b")
	if a == b || a != NodeISID("iqn.2013-09.org.example:a") {
		t.Errorf("got %x and %x", a, b)
	}
	if a[0] != 0x80 { // type 10b, the other six bits reserved
		t.Errorf("type byte %#x", a[0])
	}
}
