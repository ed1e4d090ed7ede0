package config

import (
	"strings"
	"testing"
)

func TestBootServer(t *testing.T) {
	for _, tt := range []struct {
		value, host string
		find        bool
		// note is part of what the console says, err of the error.
		note, err string
	}{
		{value: "boot", find: true},
		{value: "boot,", find: true},
		{value: "boot,http://10.0.0.1/sidus/", host: "10.0.0.1", find: true},
		{value: "boot,tftp://10.0.0.1/", host: "10.0.0.1", find: true},
		// What a loader writes that does not know where it came from.
		{value: "boot,sidus.ipxe", find: true},
		{value: "boot,tftp:///", find: true, note: `server "" is not a host name`},
		{value: "boot,http://user:correct-horse@a b/", find: true, note: "is not a host name"},
		{value: "http://10.0.0.1", host: "10.0.0.1"},
		{value: "http://10.0.0.1:8080/a/b.efi?x=http://10.0.0.2/#y", host: "10.0.0.1"},
		{value: "https://boot.example.org/sidus.efi", host: "boot.example.org"},
		{value: "http://user:correct-horse@10.0.0.1/", host: "10.0.0.1"},
		{value: "http://user:correct@horse@10.0.0.1:80/", host: "10.0.0.1"},
		{value: "http://[2001:db8::1]/x", host: "2001:db8::1"},
		{value: "http://user:correct-horse@[2001:db8::1]:8080/x", host: "2001:db8::1"},
		{value: "http://10.0.0.1?@10.0.0.2/", host: "10.0.0.1"},
		{value: "http://10.0.0.1#@10.0.0.2/", host: "10.0.0.1"},
		{value: "10.0.0.1", host: "10.0.0.1"}, {value: "nas.example.org", host: "nas.example.org"}, {value: "bootserver", host: "bootserver"},
		{value: "nas:2049", host: "nas"}, {value: "[2001:db8::1]", host: "2001:db8::1"},

		{value: "", err: "is not a host name"},
		{value: "2001:db8::1", err: "no port"},
		{value: "http://2001:db8::1/", err: "no port"},
		{value: "http://", err: "is not a host name"}, {value: "http:///sidus.efi", err: "is not a host name"},
		{value: "http://user:correct-horse@/", err: "is not a host name"},
		{value: "http://10.0.0.1:80:80/", err: "no port"}, {value: "http://10.0.0.1:-1/", err: "no port"},
		{value: "http://[2001:db8::1/", err: "[ADDRESS]"}, {value: "http://[2001:db8::1]x/", err: "[ADDRESS]"}, {value: "http://[10.0.0.1]/", err: "[ADDRESS]"},
		{value: "http://[]/", err: "[ADDRESS]"}, {value: "http://[fe80::1%25eth0]/", err: "not the name or the address"},
		{value: "http://10.0.0.1%2f/", err: "is not a host name"}, {value: `http://10.0.0.1\@10.0.0.2/`, host: "10.0.0.2"},
		{value: "http://0.0.0.0/", err: "not the name or the address"}, {value: "http://127.0.0.1/", err: "not the name or the address"},
		{value: "http://[::]/", err: "not the name or the address"}, {value: "http://224.0.0.1/", err: "not the name or the address"},
		{value: "http://_nfs._tcp/", err: "not the name or the address"}, {value: "http://1.2.3/", err: "is not an IPv4 address"},
		{value: "http://a\x1b[2J/", err: "is not a host name"}, {value: "http://" + strings.Repeat("a", 300) + "/", err: "is not a host name"},
		{value: "../..", err: "is not a host name"}, {value: "10.0.0.1:/srv", err: "no port"},
	} {
		t.Run(tt.value, func(t *testing.T) {
			c, err := Parse(`sidus.server="`+tt.value+`"`, "")
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Fatalf("error %v, want one with %q", err, tt.err)
			}
			if want := (BootServer{tt.host, tt.find}); err == nil && c.BootServer != want {
				t.Errorf("%+v, want %+v", c.BootServer, want)
			}
			notes := strings.Join(c.Notes, "\n")
			if (notes == "") != (tt.note == "") || !strings.Contains(notes, tt.note) {
				t.Errorf("notes %q, want one with %q", notes, tt.note)
			}
			if err != nil {
				notes += err.Error()
			}
			if strings.Contains(notes, "correct") || strings.ContainsRune(notes, '\x1b') {
				t.Errorf("the console says %q", notes)
			}
		})
	}
}

// sidus.server= is stronger than what a DHCP server says without being asked for the
// root, and weaker than whatever names the server of the tree.
func TestBootServerOrder(t *testing.T) {
	lease := Lease{Addr: addr("10.0.0.77"), NextServer: addr("10.0.0.4"), ServerID: addr("10.0.0.5")}
	with17, withIP := lease, lease
	with17.RootPath = "10.0.0.2:/lease"
	withIP.Server = addr("10.0.0.3")
	path17 := lease
	path17.RootPath = "/lease"
	const url = " sidus.server=http://10.0.0.9:80/x"
	for _, tt := range []struct {
		name, cmdline, file string
		lease               Lease
		want, origin        string
	}{
		{"without it", "nfsroot=/srv", "", lease, "10.0.0.4:/srv", "path: command line, server: DHCP next-server"},
		{"before next-server", "nfsroot=/srv" + url, "", lease, "10.0.0.9:/srv", "path: command line, server: sidus.server="},
		{"in the file", "nfsroot=/srv", "sidus.server=10.0.0.9", lease, "10.0.0.9:/srv", "path: command line, server: sidus.server="},
		{"behind nfsroot=", "nfsroot=10.0.0.1:/srv" + url, "", lease, "10.0.0.1:/srv", "command line"},
		{"behind option 17", "nfsroot=/srv" + url, "", with17, "10.0.0.2:/srv", "path: command line, server: DHCP option 17"},
		{"with the path of option 17", url, "", path17, "10.0.0.9:/lease", "path: DHCP option 17, server: sidus.server="},
		{"behind ip=", "nfsroot=/srv" + url, "", withIP, "10.0.0.3:/srv", "path: command line, server: ip= server field"},
		{"behind the file's server with its path", url, "nfsroot=10.0.0.6:/file", lease, "10.0.0.6:/file", "/etc/sidusboot.conf"},
		{"before the file's server with another path", "nfsroot=/srv" + url, "nfsroot=10.0.0.6:/file", lease, "10.0.0.9:/srv", "path: command line, server: sidus.server="},
		{"a second server", "nfsroot=/srv nfsroot=10.0.0.8:" + url, "", lease, "10.0.0.9:/srv 10.0.0.8:/srv", "path: command line, server: sidus.server="},
		{"without a URL", "nfsroot=/srv sidus.server=boot", "", lease, "10.0.0.4:/srv", "path: command line, server: DHCP next-server"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := Parse(tt.cmdline, tt.file)
			if err != nil {
				t.Fatal(err)
			}
			roots, err := c.ResolveRoots(tt.lease)
			if got := rootsText(roots); err != nil || got != tt.want || roots[0].Origin != tt.origin {
				t.Errorf("%s from %q, %v; want %s from %q", got, roots, err, tt.want, tt.origin)
			}
		})
	}
}

// Firmware and DHCP are asked only where nothing stronger names the server.
func TestBootServerFound(t *testing.T) {
	for _, tt := range []struct {
		cmdline, want string
		asked         int
	}{
		{"nfsroot=/srv", "10.0.0.9:/srv", 1},
		{"nfsroot=10.0.0.1:/srv", "10.0.0.1:/srv", 0},
		{"nfsroot=/srv sidus.server=boot,http://10.0.0.8/", "10.0.0.8:/srv", 0},
	} {
		t.Run(tt.cmdline, func(t *testing.T) {
			c, err := Parse(tt.cmdline, "")
			if err != nil {
				t.Fatal(err)
			}
			asked := 0
			roots, err := c.ResolveRoots(Lease{ServerID: addr("10.0.0.5"), Boot: func() (string, string) {
				asked++
				return "10.0.0.9", "a test"
			}})
			if got := rootsText(roots); err != nil || got != tt.want || asked != tt.asked {
				t.Errorf("%s, %v, asked %d times; want %s, %d times", got, err, asked, tt.want, tt.asked)
			}
		})
	}
}

func FuzzHostOf(f *testing.F) {
	for _, s := range []string{"http://u:p@[::1]:80/x", "tftp://10.0.0.1", "://", "http://[", "a://b:1?@c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, url string) {
		host, err := HostOf(url)
		if (host == "") == (err == nil) {
			t.Fatalf("HostOf(%q) = %q, %v", url, host, err)
		}
		checkRoot(t, Root{Server: strings.ReplaceAll(host, "_", "-")})
		if err != nil && strings.ContainsAny(err.Error(), "\n\x1b\x00") {
			t.Errorf("error %q would spoil the console", err)
		}
		if err == nil {
			again, err := HostOf("http://user@" + bracketed(host) + ":80/" + url)
			if again != host || err != nil {
				t.Errorf("HostOf of a URL with %q = %q, %v", host, again, err)
			}
		}
	})
}

func bracketed(host string) string {
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}
