package config

import (
	"reflect"
	"strings"
	"testing"
)

func TestRootForms(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want Root
	}{
		// The kernel's.
		{"nfsroot=10.0.0.1:/srv/root", Root{Server: "10.0.0.1", Path: "/srv/root"}},
		{"nfsroot=10.0.0.1:/srv/root,vers=3,rsize=65536", Root{Server: "10.0.0.1", Path: "/srv/root", Version: "3", Options: []string{"rsize=65536"}}},
		{"nfsroot=/srv/root", Root{Path: "/srv/root"}},
		{"nfsroot=/srv/a:b", Root{Path: "/srv/a:b"}},
		{"nfsroot=/srv/%s", Root{Path: "/srv/%s"}},
		{"nfsroot=nfs.example.org:/srv", Root{Server: "nfs.example.org", Path: "/srv"}},
		{"nfsroot=[2001:db8::1]:/srv", Root{Server: "2001:db8::1", Path: "/srv"}},
		{"nfsroot=10.0.0.1:", Root{Server: "10.0.0.1"}},
		{"nfsroot=,vers=4.1", Root{Version: "4.1"}},
		{"nfsroot=auto", Root{}},
		{"nfsroot", Root{}},
		{"nfsroot=10.0.0.1:/", Root{Server: "10.0.0.1", Path: "/"}},
		{"nfsroot=10.0.0.1://srv//root/./", Root{Server: "10.0.0.1", Path: "/srv/root"}},
		{"nfsroot=\"10.0.0.1:/srv/my root\"", Root{Server: "10.0.0.1", Path: "/srv/my root"}},
		{"root=/dev/nfs nfsroot=10.0.0.1:/srv", Root{Server: "10.0.0.1", Path: "/srv"}},
		{"root=LABEL=disk nfsroot=10.0.0.1:/srv", Root{Server: "10.0.0.1", Path: "/srv"}},
		{"nfsroot=10.0.0.1:/new nfsroot=10.0.0.1:/other", Root{Server: "10.0.0.1", Path: "/new"}},
		// dracut's.
		{"root=/dev/nfs", Root{}}, {"root=dhcp", Root{}}, {"root=nfs", Root{}},
		{"root=nfs4", Root{Version: "4"}},
		{"root=nfs:10.0.0.1:/srv", Root{Server: "10.0.0.1", Path: "/srv"}},
		{"root=nfs:10.0.0.1:/srv:ro,vers=3,nolock", Root{Server: "10.0.0.1", Path: "/srv", Version: "3", Options: []string{"nolock"}}},
		{"root=nfs:10.0.0.1:/srv,vers=3,nolock", Root{Server: "10.0.0.1", Path: "/srv", Version: "3", Options: []string{"nolock"}}},
		{"root=nfs4:10.0.0.1:/srv", Root{Server: "10.0.0.1", Path: "/srv", Version: "4"}},
		{"root=nfs4:10.0.0.1:/srv:v4.1", Root{Server: "10.0.0.1", Path: "/srv", Version: "4.1"}},
		{"root=nfs:/srv", Root{Path: "/srv"}},
		{"root=nfs:/srv:soft", Root{Path: "/srv", Options: []string{"soft"}}},
		{"root=nfs:[2001:db8::1]:/srv", Root{Server: "2001:db8::1", Path: "/srv"}},
		{"root=nfs://10.0.0.1/srv", Root{Server: "10.0.0.1", Path: "/srv"}},
		{"root=nfs://[2001:db8::1]:2050/srv", Root{Server: "2001:db8::1", Path: "/srv", Options: []string{"port=2050"}}},
		{"root=nfs4:10.0.0.1:/srv nfsroot=10.0.0.1:/srv", Root{Server: "10.0.0.1", Path: "/srv", Version: "4"}},
		// The ways to write a version.
		{"nfsroot=/a,nfsvers=4", Root{Path: "/a", Version: "4"}},
		{"nfsroot=/a,vers=4,minorversion=1", Root{Path: "/a", Version: "4.1"}},
	} {
		t.Run(tt.in, func(t *testing.T) {
			c, err := Parse(tt.in, "")
			if tt.want.given() {
				tt.want.Origin = "command line"
			}
			if err != nil || !reflect.DeepEqual(c.Root, tt.want) {
				t.Errorf("Parse(%q).Root = %+v, %v, want %+v", tt.in, c.Root, err, tt.want)
			}
		})
	}
}

func TestRootErrors(t *testing.T) {
	for in, want := range map[string]string{
		"root=/dev/sda1":                             "boots only NFS roots",
		"root=LABEL=root":                            "boots only NFS roots",
		"root=iscsi:10.0.0.1::::iqn.x":               "boots only NFS roots",
		"nfsroot=srv/root":                           "does not begin with /",
		"nfsroot=10.0.0.1:srv":                       "does not begin with /",
		"nfsroot=10.0.0.300:/srv":                    "not an IPv4 address",
		"nfsroot=-o:/srv":                            "not a host name",
		"nfsroot=fe80::1:/srv":                       "in brackets",
		"nfsroot=2001:db8::1:/srv":                   "in brackets",
		"nfsroot=[10.0.0.1]:/srv":                    "not an IPv6 address",
		"nfsroot=[fe80::1]/srv":                      "[ADDRESS]:PATH",
		"nfsroot=http://10.0.0.1/srv":                "http:// roots are not supported",
		"nfsroot=/srv/../etc":                        "has ..",
		"nfsroot=/srv/%x":                            `"%x" is not known`,
		"nfsroot=/srv%":                              "single %",
		"nfsroot=/srv/a\x01b":                        "control character",
		"nfsroot=/" + strings.Repeat("a", 1024):      "longer than",
		"nfsroot=/srv,addr=10.0.0.9":                 "set by sidusboot itself",
		"nfsroot=/srv,clientaddr=10.0.0.9":           "set by sidusboot itself",
		"nfsroot=/srv,mountaddr=10.0.0.9":            "set by sidusboot itself",
		"nfsroot=/srv,bind":                          "another kind of mount",
		"nfsroot=/srv,nosuid":                        "would have no effect",
		"nfsroot=/srv,vers=2":                        "NFS version",
		"nfsroot=/srv,vers=3,minorversion=1":         "contradict",
		"nfsroot=/srv,RSIZE=1":                       "not an NFS option",
		"nfsroot=/srv,=1":                            "not an NFS option",
		`nfsroot=/srv,a\b`:                           "no option can have",
		"root=nfs4:10.0.0.1:/srv:vers=3":             "contradict",
		"root=nfs:10.0.0.1:/srv nfsroot=10.0.0.1:/x": "names another tree",
		"root=nfs://10.0.0.1:99999/srv":              "not a port",
		"root=nfs://10.0.0.1":                        "NFS URL",
	} {
		t.Run(in, func(t *testing.T) {
			c, err := Parse(in, "")
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("Parse(%q).Root = %+v, %v; want an error with %q", in, c.Root, err, want)
			}
			if err != nil && !strings.Contains(err.Error(), "for example") {
				t.Errorf("Parse(%q): %v: no example", in, err)
			}
		})
	}
}

func TestParseRootPath(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want Root
		fail string
	}{
		{in: ""},
		{in: "\x00"},
		{in: "10.0.0.1:/srv/root\x00\x00", want: Root{Server: "10.0.0.1", Path: "/srv/root"}},
		{in: " /srv/root \n", want: Root{Path: "/srv/root"}},
		{in: "nas:/srv/root,vers=4.2,nconnect=4", want: Root{Server: "nas", Path: "/srv/root", Version: "4.2", Options: []string{"nconnect=4"}}},
		{in: "nfs:nas:/srv/root:vers=3,nolock", want: Root{Server: "nas", Path: "/srv/root", Version: "3", Options: []string{"nolock"}}},
		{in: "nfs:/srv/root", want: Root{Path: "/srv/root"}},
		{in: "nfs4:nas:/srv/root", want: Root{Server: "nas", Path: "/srv/root", Version: "4"}},
		{in: "nfs://nas/srv/root", want: Root{Server: "nas", Path: "/srv/root"}},
		{in: "[2001:db8::1]:/srv", want: Root{Server: "2001:db8::1", Path: "/srv"}},
		{in: "10.0.0.1:/srv,rw", want: Root{Server: "10.0.0.1", Path: "/srv"}},
		{in: "iscsi:10.0.0.1::::iqn.2003-01.org.example:x", fail: "it names an iSCSI disk"},
		{in: "http://10.0.0.1/root.squashfs", fail: "http:// roots are not supported"},
		{in: "10.0.0.1:/srv\x00evil", fail: "control character"},
		{in: "10.0.0.1:/srv\nevil", fail: "control character"},
		{in: "10.0.0.1:/srv,addr=6.6.6.6", fail: "set by sidusboot itself"},
		{in: "a b:/srv", fail: "not a host name"},
		{in: "srv", fail: "does not begin with /"},
	} {
		t.Run(tt.in, func(t *testing.T) {
			got, err := ParseRootPath(tt.in)
			if tt.fail != "" {
				if err == nil || !strings.Contains(err.Error(), tt.fail) || !strings.Contains(err.Error(), "DHCP option 17") {
					t.Errorf("ParseRootPath(%q) = %+v, %v; want an error with %q", tt.in, got, err, tt.fail)
				}
				return
			}
			if tt.want.given() {
				tt.want.Origin = "DHCP option 17"
			}
			if err != nil || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("ParseRootPath(%q) = %+v, %v, want %+v", tt.in, got, err, tt.want)
			}
		})
	}
}

func TestResolveRoot(t *testing.T) {
	line := Root{Server: "10.0.0.1", Path: "/line", Version: "4.1", Options: []string{"line"}}
	file := Root{Server: "10.0.0.6", Path: "/file", Version: "3", Options: []string{"file"}}
	lease := Lease{Addr: addr("10.0.0.77"), RootPath: "10.0.0.2:/lease,vers=4.2,lease",
		Server: addr("10.0.0.3"), NextServer: addr("10.0.0.4"), ServerID: addr("10.0.0.5")}
	without := func(l Lease, change func(*Lease)) Lease { change(&l); return l }
	noServer17 := without(lease, func(l *Lease) { l.RootPath = "/lease" })
	noIP := without(noServer17, func(l *Lease) { l.Server = Lease{}.Server })
	noNext := without(noIP, func(l *Lease) { l.NextServer = addr("0.0.0.0") })
	noLease := without(noNext, func(l *Lease) { l.ServerID = Lease{}.ServerID })
	noPath17 := without(lease, func(l *Lease) { l.RootPath = "" })
	const mixed = "path: DHCP option 17, server: "
	for _, tt := range []struct {
		name  string
		line  Root
		lease Lease
		file  Root
		want  Root
	}{
		{"the command line wins", line, lease, file, Root{"10.0.0.1", "/line", "4.1", []string{"line"}, "command line"}},
		{"then option 17", Root{}, lease, file, Root{"10.0.0.2", "/lease", "4.2", []string{"lease"}, "DHCP option 17"}},
		{"then ip='s server", Root{}, noServer17, Root{}, Root{"10.0.0.3", "/lease", "", nil, mixed + "ip= server field"}},
		{"then siaddr", Root{}, noIP, file, Root{"10.0.0.4", "/lease", "", nil, mixed + "DHCP next-server"}},
		{"then option 54", Root{}, noNext, file, Root{"10.0.0.5", "/lease", "", nil, mixed + "DHCP option 54"}},
		{"then the file", Root{}, noLease, file, Root{"10.0.0.6", "/lease", "", nil, mixed + "/etc/sidusboot.conf"}},
		{"the file's path keeps its server", Root{}, noPath17, file, Root{"10.0.0.6", "/file", "3", []string{"file"}, "/etc/sidusboot.conf"}},
		{"a path alone takes the lease's server", Root{Path: "/line"}, lease, Root{}, Root{"10.0.0.2", "/line", "", nil, "path: command line, server: DHCP option 17"}},
		{"a server alone takes the lease's path", Root{Server: "10.0.0.1"}, lease, Root{}, Root{"10.0.0.1", "/lease", "4.2", []string{"lease"}, mixed + "command line"}},
		{"the kernel's %s", Root{Server: "10.0.0.1", Path: "/srv/%s/%I"}, lease, Root{}, Root{"10.0.0.1", "/srv/10.0.0.77/0A00004D", "", nil, "command line"}},
		{"options alone go with the lease's path", Root{Version: "3", Options: []string{"nconnect=4"}}, lease, file, Root{"10.0.0.2", "/lease", "3", []string{"nconnect=4"}, "DHCP option 17"}},
		{"the file's options without a path go with any", Root{}, noServer17, Root{Version: "4.1"}, Root{"10.0.0.3", "/lease", "4.1", nil, mixed + "ip= server field"}},
		{"option 17 for iSCSI is passed over", line, without(lease, func(l *Lease) { l.RootPath = "iscsi:x" }), Root{}, Root{"10.0.0.1", "/line", "4.1", []string{"line"}, "command line"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ResolveRoot(tt.line, tt.lease, tt.file)
			if err != nil || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("%s: %+v, %v\nwant %+v", tt.name, got, err, tt.want)
			}
		})
	}
	for _, tt := range []struct {
		name  string
		line  Root
		lease Lease
		want  string
	}{
		{"no path", Root{}, Lease{ServerID: addr("10.0.0.5")}, "no NFS root configured: set nfsroot="},
		{"no server", Root{Path: "/srv"}, Lease{}, "no NFS server configured for /srv"},
		{"bad option 17", Root{}, Lease{RootPath: "iscsi:x"}, "iSCSI"},
		{"no address for %s", Root{Server: "a", Path: "/%s"}, Lease{}, "needs an IPv4 address"},
		{"a host name that climbs", Root{Server: "a", Path: "/%h"}, Lease{Hostname: "../.."}, "needs a host name"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := ResolveRoot(tt.line, tt.lease, Root{}); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: %+v, %v; want an error with %q", tt.name, got, err, tt.want)
			}
		})
	}
}

// Several nfsroot= are several servers of a tree, in their order.
func TestResolveRoots(t *testing.T) {
	lease := Lease{Addr: addr("10.0.0.77"), RootPath: "10.0.0.2:/lease", ServerID: addr("10.0.0.5")}
	for _, tt := range []struct{ name, cmdline, file, want string }{
		{"one", "nfsroot=10.0.0.1:/srv", "", "10.0.0.1:/srv"},
		{"two servers", "nfsroot=10.0.0.1:/srv nfsroot=10.0.0.3:/srv", "", "10.0.0.1:/srv 10.0.0.3:/srv"},
		{"two paths", "nfsroot=10.0.0.1:/a,vers=3 nfsroot=10.0.0.3:/b,vers=4.2", "", "10.0.0.1:/a@3 10.0.0.3:/b@4.2"},
		{"the second has the path and the options of the first", "nfsroot=10.0.0.1:/srv,vers=3,nconnect=4 nfsroot=10.0.0.3:", "", "10.0.0.1:/srv@3,nconnect=4 10.0.0.3:/srv@3,nconnect=4"},
		{"a template in the path", "nfsroot=10.0.0.1:/%I nfsroot=10.0.0.3:", "", "10.0.0.1:/0A00004D 10.0.0.3:/0A00004D"},
		{"the path of option 17", "nfsroot=10.0.0.1: nfsroot=10.0.0.3:", "", "10.0.0.1:/lease 10.0.0.3:/lease"},
		{"one twice", "nfsroot=10.0.0.1:/srv nfsroot=10.0.0.1:/srv nfsroot=10.0.0.3:", "", "10.0.0.1:/srv 10.0.0.3:/srv"},
		{"with root=", "root=/dev/nfs nfsroot=10.0.0.1:/srv nfsroot=10.0.0.3:", "", "10.0.0.1:/srv 10.0.0.3:/srv"},
		{"IPv6", "nfsroot=[2001:db8::1]:/srv nfsroot=[2001:db8::2]:", "", "2001:db8::1:/srv 2001:db8::2:/srv"},
		{"a service of DNS", "nfsroot=_nfs._tcp:/srv nfsroot=_nfs._tcp.example.org:", "", "_nfs._tcp:/srv _nfs._tcp.example.org:/srv"},
		{"those of the command line replace those of the file", "nfsroot=10.0.0.1:/srv", "nfsroot=10.0.0.6:/file\nnfsroot=10.0.0.7:/file", "10.0.0.1:/srv"},
		{"those of the file only with its path", "", "nfsroot=10.0.0.6:/file\nnfsroot=10.0.0.7:/file", "10.0.0.2:/lease"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := Parse(tt.cmdline, tt.file)
			if err != nil {
				t.Fatal(err)
			}
			roots, err := c.ResolveRoots(lease)
			if got := rootsText(roots); err != nil || got != tt.want {
				t.Errorf("%s, %v, want %s", got, err, tt.want)
			}
		})
	}
	c, err := Parse("", "nfsroot=10.0.0.6:/file\nnfsroot=10.0.0.7:")
	if err != nil {
		t.Fatal(err)
	}
	roots, err := c.ResolveRoots(Lease{Addr: addr("10.0.0.77"), ServerID: addr("10.0.0.5")})
	if got := rootsText(roots); err != nil || got != "10.0.0.6:/file 10.0.0.7:/file" {
		t.Errorf("of the file: %s, %v", got, err)
	}
	// A comma begins options, and is in no list of servers.
	if _, err := Parse("nfsroot=10.0.0.1:/srv,10.0.0.3:/srv", ""); err == nil {
		t.Error("servers in one parameter: no error")
	}
	if _, err := Parse("nfsroot=10.0.0.1:/srv nfsroot=http://x/y", ""); err == nil {
		t.Error("a second nfsroot= that is wrong: no error")
	}
}

func rootsText(roots []Root) string {
	var all []string
	for _, r := range roots {
		text := r.Server + ":" + r.Path
		if r.Version != "" {
			text += "@" + r.Version
		}
		all = append(all, strings.Join(append([]string{text}, r.Options...), ","))
	}
	return strings.Join(all, " ")
}

// What needs programs that run only when the tree is there is refused with the
// reason.
func TestRootSecurity(t *testing.T) {
	for option, want := range map[string]string{
		"sec=krb5": "no program on the node can log in to Kerberos", "sec=krb5p": "Kerberos", "sec=sys": "",
		"xprtsec=tls": "TLS handshake", "xprtsec=mtls": "TLS handshake", "xprtsec=none": "",
	} {
		t.Run(option, func(t *testing.T) {
			_, err := Parse("nfsroot=10.0.0.1:/srv,"+option, "")
			if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
				t.Errorf("%v, want %q", err, want)
			}
		})
	}
}
