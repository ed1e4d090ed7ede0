package config

import (
	"net"
	"strings"
	"testing"
)

func FuzzParse(f *testing.F) {
	for _, w := range parameters {
		f.Add(w.example, "")
		f.Add("quiet", w.name+"=x # comment")
	}
	for name := range foreignNames() {
		f.Add(name+"x=y", name)
	}
	f.Add("rd.\x1b rd.route=[::]/0:[::1] ip=dhcp,dhcp6 nfsroot=/a:ro:", "netroot=a:/b")
	f.Add(`foo="`, `"`)
	f.Add(`a="b c" "d=e f" -- sidus.rw=x`, "\xff\x00=\n=")
	f.Fuzz(func(t *testing.T, cmdline, file string) {
		c, err := Parse(cmdline, file)
		if c.RW.Kind == "" || c.RW.Size == "" || c.RW.Fallback == "" || c.RW.MkFS == "" || c.Timeout <= 0 || c.Modules == nil || c.Consumed == nil {
			t.Errorf("not usable: %+v, %v", c, err)
		}
		for _, r := range []Root{c.Root, c.FileRoot} {
			checkRoot(t, r)
		}
		for _, note := range c.Notes {
			if strings.ContainsAny(note, "\n\x1b\x00") {
				t.Errorf("note %q would spoil the console", note)
			}
		}
		if err != nil && strings.ContainsAny(strings.ReplaceAll(err.Error(), "\n", ""), "\x1b\x00") {
			t.Errorf("error %q would spoil the console", err)
		}
	})
}

// checkRoot holds a root against what may reach mount(2).
func checkRoot(t *testing.T, r Root) {
	t.Helper()
	if r.Path != "" && r.Path[0] != '/' || strings.ContainsAny(r.Path, "\x00\n,") {
		t.Errorf("path %q", r.Path)
	}
	if strings.Trim(r.Server, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.:-") != "" {
		t.Errorf("server %q", r.Server)
	}
	for _, o := range r.Options {
		if o == "" || strings.ContainsAny(o, ", \x00\n") || strings.HasPrefix(o, "addr=") || strings.HasPrefix(o, "vers=") {
			t.Errorf("option %q", o)
		}
	}
}

func FuzzIP(f *testing.F) {
	for _, s := range []string{"dhcp", "192.168.1.7:192.168.1.1:192.168.1.254:255.255.255.0:node7:eth0:off:192.168.1.2:192.168.1.3:192.168.1.4",
		"[2001:db8::7]:::64::eth0:none", "eth0:dhcp:9000:52:54:00:12:34:56", "dhcp,1,x", "[", "[]:", ":::::::", "[::]:"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ip, _, err := parseIP(s)
		if err != nil {
			return
		}
		if ip.Method == MethodStatic && (!ip.Client.IsValid() || ip.Bits < 1 || ip.Bits > ip.Client.BitLen()) {
			t.Errorf("static without an address: %+v", ip)
		}
		if ip.Client.IsValid() && ip.Client == ip.Gateway {
			t.Errorf("its own gateway: %+v", ip)
		}
		if len(ip.Device) > 15 || strings.ContainsAny(ip.Device, "/ \x00") {
			t.Errorf("device %q", ip.Device)
		}
	})
}

func FuzzRootPath(f *testing.F) {
	for _, s := range []string{"", "10.0.0.1:/srv,vers=3\x00", "nfs:nas:/srv:ro", "nfs4:/srv", "nfs://[::1]:1/srv", "iscsi:x", "[::1]:/", "://", "nfs:", ":/a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseRootPath(s)
		if err != nil {
			return
		}
		checkRoot(t, r)
		lease := Lease{Addr: addr("10.0.0.7"), Hostname: "h", RootPath: s, ServerID: addr("10.0.0.1"),
			MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, UUID: "12345678-0000-0000-0000-000000000001"}
		got, err := ResolveRoot(Root{}, lease, Root{Server: "a", Path: "/a"})
		if err != nil {
			t.Skip() // A path that grew too long.
		}
		checkRoot(t, got)
		if got.Server == "" || got.Path == "" || got.Origin == "" {
			t.Errorf("ResolveRoot = %+v", got)
		}
	})
}

func FuzzExpand(f *testing.F) {
	for _, s := range []string{"", "%", "%%", "%i%I%m%h%u", "a%sb", "%%%"} {
		f.Add(s, "host")
	}
	f.Fuzz(func(t *testing.T, template, host string) {
		l := Lease{Addr: addr("10.0.0.7"), Hostname: host, MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, UUID: "12345678-0000-0000-0000-000000000001"}
		got, err := Expand(template, l)
		check := checkTemplate(template, false)
		if check != nil && err == nil {
			t.Errorf("Expand(%q) = %q, but checkTemplate says %v", template, got, check)
		}
		if check == nil && err != nil && !strings.Contains(err.Error(), "%h") {
			t.Errorf("Expand(%q): %v, but checkTemplate lets it pass", template, err)
		}
	})
}
