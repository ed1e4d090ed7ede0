package config

import (
	"net"
	"strings"
	"testing"
)

func TestExpand(t *testing.T) {
	l := Lease{Addr: addr("10.1.2.254"), MAC: net.HardwareAddr{0x52, 0x54, 0, 0xAB, 0, 1}, Hostname: "node7.lan",
		UUID: "4c4c4544-0042-3510-8052-b4c04f4a3132"}
	for in, want := range map[string]string{
		"":                         "",
		"plain":                    "plain",
		"%i":                       "10.1.2.254",
		"%I":                       "0A0102FE",
		"%m":                       "52:54:00:ab:00:01",
		"%h":                       "node7.lan",
		"%u":                       "4c4c4544-0042-3510-8052-b4c04f4a3132",
		"100%%":                    "100%",
		"%%i":                      "%i",
		"iqn.2003-01.org.x:%I-%h.": "iqn.2003-01.org.x:0A0102FE-node7.lan.",
	} {
		t.Run(in, func(t *testing.T) {
			if got, err := Expand(in, l); err != nil || got != want {
				t.Errorf("Expand(%q) = %q, %v, want %q", in, got, err, want)
			}
		})
	}
	for _, tt := range []struct {
		in   string
		l    Lease
		want string
	}{
		{"a%", l, "single %"},
		{"%x", l, `"%x" is not known`},
		{"%s", l, `"%s" is not known`},
		{"%i", Lease{}, "IPv4"},
		{"%I", Lease{Addr: addr("2001:db8::1")}, "IPv4"},
		{"%m", Lease{}, "MAC"},
		{"%h", Lease{}, "host name"},
		{"%h", Lease{Hostname: "a/../b"}, "host name"},
		{"%u", Lease{}, "SMBIOS"},
		{"%u", Lease{UUID: "Not Settable"}, "hex digits"},
		{"%u", Lease{UUID: "00000000-0000-0000-0000-000000000000"}, "of this board's own"},
		{"%u", Lease{UUID: "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF"}, "of this board's own"},
		{"%u", Lease{UUID: "03000200-0400-0500-0006-000700080009"}, "of this board's own"},
	} {
		t.Run(tt.in, func(t *testing.T) {
			if got, err := Expand(tt.in, tt.l); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Expand(%q) = %q, %v; want an error with %q", tt.in, got, err, tt.want)
			}
		})
	}
}
