package config

import (
	"net"
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// Each form of ip= with what its owner documents: nfsroot.rst for the
// kernel's, klibc's README.ipconfig, dracut.cmdline(7).
func TestParseIP(t *testing.T) {
	mac := net.HardwareAddr{0x52, 0x54, 0, 0x12, 0x34, 0x56}
	static := IP{Client: addr("192.168.1.7"), Bits: 24, Method: MethodStatic}
	with := func(base IP, change func(*IP)) IP { change(&base); return base }
	for _, tt := range []struct {
		in   string
		want IP
	}{
		// The kernel's lone methods.
		{"dhcp", IP{}}, {"on", IP{}}, {"any", IP{}}, {"", IP{}}, {"auto", IP{}},
		{"off", IP{Method: MethodOff}}, {"none", IP{Method: MethodOff}},
		// initramfs-tools.
		{"done", IP{Method: MethodOff}},
		// The kernel's client identifier.
		{"dhcp,0,node:7", IP{ClientID: "\x00node:7"}},
		{":::::eth0:dhcp,0x01,abc", IP{Device: "eth0", ClientID: "\x01abc"}},
		// pxelinux's IPAPPEND 1, with and without a gateway.
		{"192.168.1.7:192.168.1.1:192.168.1.254:255.255.255.0",
			with(static, func(ip *IP) { ip.Server, ip.Gateway = addr("192.168.1.1"), addr("192.168.1.254") })},
		{"192.168.1.7:192.168.1.1:0.0.0.0:255.255.255.0", with(static, func(ip *IP) { ip.Server = addr("192.168.1.1") })},
		// The kernel's ten fields.
		{"192.168.1.7:192.168.1.1:192.168.1.254:255.255.255.0:node7:eth0:off:192.168.1.2:192.168.1.3:192.168.1.4",
			IP{Client: addr("192.168.1.7"), Server: addr("192.168.1.1"), Gateway: addr("192.168.1.254"), Bits: 24,
				Hostname: "node7", Device: "eth0", Method: MethodStatic,
				DNS: []netip.Addr{addr("192.168.1.2"), addr("192.168.1.3")}, NTP: addr("192.168.1.4")}},
		{"192.168.1.7:::24::eth0:none", with(static, func(ip *IP) { ip.Device = "eth0" })},
		{"192.168.1.7:::24::eth0:static", with(static, func(ip *IP) { ip.Device = "eth0" })},
		{"192.168.1.7:::24", static},
		{"192.168.1.7:::24::::::", static},
		{"192.168.1.7:::24::::::192.168.1.4", with(static, func(ip *IP) { ip.NTP = addr("192.168.1.4") })},
		{"192.168.1.7:::24:::none:0.0.0.0:192.168.1.3", with(static, func(ip *IP) { ip.DNS = []netip.Addr{addr("192.168.1.3")} })},
		{"192.168.1.7:::24:::dhcp", with(static, func(ip *IP) { ip.Method = MethodDHCP })},
		// The netmask by class.
		{"192.168.1.7::::::none", static},
		{"172.16.1.7:", IP{Client: addr("172.16.1.7"), Bits: 16, Method: MethodStatic}},
		{"10.1.1.7:", IP{Client: addr("10.1.1.7"), Bits: 8, Method: MethodStatic}},
		{"10.1.1.7:::32", IP{Client: addr("10.1.1.7"), Bits: 32, Method: MethodStatic}},
		// klibc's.
		{":::::eth1:dhcp", IP{Device: "eth1"}},
		{":::::eth1", IP{Device: "eth1"}},
		{"::::node7::dhcp", IP{Hostname: "node7"}},
		{":10.0.0.9:::::dhcp", IP{Server: addr("10.0.0.9")}},
		{":::::eth1:off", IP{Device: "eth1", Method: MethodOff}},
		// dracut's.
		{"auto6", IP{Method: MethodAuto6}}, {"dhcp6", IP{Method: MethodDHCP6}}, {"either6", IP{Method: MethodAuto6}},
		{"eth0:auto6", IP{Device: "eth0", Method: MethodAuto6}}, {"eth0:dhcp6:9000", IP{Device: "eth0", Method: MethodDHCP6, MTU: 9000}},
		{"::::node7:eth0:auto6", IP{Hostname: "node7", Device: "eth0", Method: MethodAuto6}},
		{"eth0:dhcp", IP{Device: "eth0"}},
		{"eth0:on", IP{Device: "eth0"}},
		{"eth0.7:any", IP{Device: "eth0.7"}},
		{"eth0:off", IP{Device: "eth0", Method: MethodOff}},
		{"eth0:dhcp:9000", IP{Device: "eth0", MTU: 9000}},
		{"eth0:dhcp:9000:52:54:00:12:34:56", IP{Device: "eth0", MTU: 9000, MAC: mac}},
		{"eth0:dhcp::52-54-00-12-34-56", IP{Device: "eth0", MAC: mac}},
		{"192.168.1.7:::24::eth0:none:1500", with(static, func(ip *IP) { ip.Device, ip.MTU = "eth0", 1500 })},
		{"192.168.1.7:::24::eth0:none:1500:52:54:00:12:34:56", with(static, func(ip *IP) { ip.Device, ip.MTU, ip.MAC = "eth0", 1500, mac })},
		{"192.168.1.7:::24::eth0:none::52:54:00:12:34:56", with(static, func(ip *IP) { ip.Device, ip.MAC = "eth0", mac })},
		{"192.168.1.7:::24::eth0:none:192.168.1.2", with(static, func(ip *IP) { ip.Device, ip.DNS = "eth0", []netip.Addr{addr("192.168.1.2")} })},
		{"[2001:db8::7]:[2001:db8::1]:[2001:db8::fe]:64::eth0:none:[2001:db8::53]",
			IP{Client: addr("2001:db8::7"), Server: addr("2001:db8::1"), Gateway: addr("2001:db8::fe"), Bits: 64,
				Device: "eth0", Method: MethodStatic, DNS: []netip.Addr{addr("2001:db8::53")}}},
	} {
		t.Run(tt.in, func(t *testing.T) {
			got, _, err := parseIP(tt.in)
			if err != nil || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("parseIP(%q) = %+v, %v\nwant %+v", tt.in, got, err, tt.want)
			}
		})
	}
}

func TestParseIPErrors(t *testing.T) {
	for in, want := range map[string]string{
		"172.16.1.7":                             "has no netmask",
		"static":                                 "needs the client address",
		"eth0:static":                            "needs the client address",
		":::::eth0:static":                       "needs the client address",
		"::10.0.0.1:::eth0:none":                 "needs the client address",
		"bootp":                                  "bootp is not supported: use dhcp",
		"rarp":                                   "rarp is not supported",
		"both":                                   "both is not supported",
		":::::eth0:rarp":                         "rarp is not supported",
		"link6":                                  "link6 is not supported: no server can be reached",
		"dhpc":                                   `"dhpc" is not a method`,
		"eth0":                                   `"eth0" is not a method`,
		"eth0:eth1":                              `"eth1" is not a method`,
		"10.0.0.300:::24":                        `client "10.0.0.300"`,
		"10.0.0.7:nfs:::::":                      `server "nfs"`,
		"10.0.0.7:::24::eth0:none:dns":           `first name server "dns"`,
		"10.0.0.7:::255.0.255.0":                 "after a zero bit comes a one",
		"10.0.0.7:::0.0.0.0":                     "after a zero bit comes a one",
		"10.0.0.7:::0":                           "from 1 to 32",
		"10.0.0.7:::33":                          "from 1 to 32",
		"10.0.0.7:::mask":                        "not a netmask",
		"10.0.0.7::10.0.0.7:24":                  "gateway is the client's own",
		"10.0.0.7:10.0.0.7::24":                  "server is the client's own",
		"10.0.0.0:::24":                          "first or last",
		"10.0.0.255:::24":                        "first or last",
		"127.0.0.1:::24":                         "loopback",
		"224.0.0.5:::24":                         "not the address of one host",
		"255.255.255.255:::24":                   "not the address of one host",
		"240.0.0.1:":                             "has no netmask",
		"10.0.0.7:::24:a b":                      "not a host name",
		"10.0.0.7:::24::a-very-long-device-name": "not a device name",
		"10.0.0.7:::24::../../x":                 "not a device name",
		"10.0.0.7:::24:::none:::::":              "too many fields",
		"eth0:dhcp:12":                           "not an MTU",
		"eth0:dhcp:99999999999999999999":         "not an MTU",
		"eth0:dhcp::52:54":                       "not a MAC",
		"[2001:db8::7]:":                         "prefix length",
		"[2001:db8::7]::10.0.0.1:64":             "both be IPv4 or both IPv6",
		"[2001:db8::7":                           "bracket",
		"[2001:db8::7]x:":                        "bracket",
		"[10.0.0.7]:::24":                        "not an address",
		"[fe80::1%eth0]:::64":                    "not an address",
		"dhcp,300,x":                             "client identifier",
		"dhcp,1":                                 "client identifier",
	} {
		t.Run(in, func(t *testing.T) {
			got, _, err := parseIP(in)
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("parseIP(%q) = %+v, %v; want an error with %q", in, got, err, want)
			}
		})
	}
}

func TestParseIPNotes(t *testing.T) {
	for in, want := range map[string]string{
		"192.168.1.7:":              "/24 is used, from the class",
		"192.168.1.7::10.0.0.1:24":  "on the link",
		"192.168.1.7::fe80::1:24":   "",
		"192.168.1.7:::24::eth0:on": "",
	} {
		t.Run(in, func(t *testing.T) {
			_, notes, _ := parseIP(in)
			if got := strings.Join(notes, "\n"); want == "" && got != "" || !strings.Contains(got, want) {
				t.Errorf("parseIP(%q) notes %q, want %q", in, got, want)
			}
		})
	}
}

func TestParseBootIF(t *testing.T) {
	want := net.HardwareAddr{0x52, 0x54, 0, 0x12, 0xab, 0x56}
	for _, in := range []string{"01-52-54-00-12-ab-56", "01:52:54:00:12:AB:56", "52-54-00-12-ab-56", "52:54:00:12:ab:56"} {
		t.Run(in, func(t *testing.T) {
			if got, err := parseBootIF(in); err != nil || got.String() != want.String() {
				t.Errorf("parseBootIF(%q) = %v, %v, want %v", in, got, err, want)
			}
		})
	}
	for _, in := range []string{"", "eth0", "20-52-54-00-12-ab-56", "52-54-00-12-ab", "5254.0012.ab56", "01-02-03-04-05-06-07-08"} {
		t.Run(in, func(t *testing.T) {
			if got, err := parseBootIF(in); err == nil {
				t.Errorf("parseBootIF(%q) = %v, want an error", in, got)
			}
		})
	}
	// A card whose own address begins with 01 has six octets.
	if got, err := parseBootIF("01-02-03-04-05-06"); err != nil || got[0] != 1 {
		t.Errorf("parseBootIF = %v, %v", got, err)
	}
}
