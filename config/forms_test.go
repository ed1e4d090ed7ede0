package config

import (
	"fmt"
	"strings"
	"testing"
)

// TestRootFormsOfOthers holds the roots that others document against what comes
// out of the command line and a lease: the client cases of dracut-ng's
// test/TEST-60-NFS, the NFS section of dracut.cmdline(7), Linux's
// Documentation/admin-guide/nfs/nfsroot.rst and initramfs-tools(7). The lease is
// that of test/TEST-60-NFS: its server is 192.168.50.1.
func TestRootFormsOfOthers(t *testing.T) {
	const one, two, three = "192.168.50.1:/nfs/client", "192.168.50.2:/nfs/client", "192.168.50.3:/nfs/client"
	const v4 = "192.168.50.3:/client v4"
	for _, tt := range []struct{ cmdline, option17, want string }{
		// dracut-ng, in its order.
		{"root=dhcp", "/nfs/client", one},
		{"root=/dev/nfs nfsroot=192.168.50.1:/nfs/client", "192.168.50.2:/nfs/client", one},
		{"root=/dev/nfs", "/nfs/client", one},
		{"root=/dev/nfs", "192.168.50.2:/nfs/client", two},
		{"root=dhcp", "192.168.50.2:/nfs/client", two},
		{"root=dhcp", "nfs:192.168.50.3:/nfs/client", three},
		{"root=dhcp", "nfs:192.168.50.3:/nfs/client:wsize=4096", three + " wsize=4096"},
		{"root=nfs:192.168.50.1:/nfs/client", "", one},
		{"root=nfs:192.168.50.1:/nfs/client bridge net.ifnames=0", "", one},
		{"root=192.168.50.1:/nfs/client", "", one},
		{"root=dhcp", "/nfs/client,wsize=4096", one + " wsize=4096"},
		{"root=dhcp", "192.168.50.2:/nfs/client,wsize=4096", two + " wsize=4096"},
		{"root=dhcp", "nfs:192.168.50.3:/nfs/client,wsize=4096", three + " wsize=4096"},
		{"root=dhcp", "nfs4:192.168.50.3:/client", v4},
		{"root=dhcp", "nfs4:192.168.50.3:/client:wsize=4096", v4 + " wsize=4096"},
		{"root=nfs4:192.168.50.1:/client", "", "192.168.50.1:/client v4"},
		{"root=dhcp", "nfs4:192.168.50.3:/client,wsize=4096", v4 + " wsize=4096"},
		{"root=nfs4:192.168.50.1:/client rd.overlay ", "", "192.168.50.1:/client v4"},
		{"root=nfs4:192.168.50.1:/client rd.live.image rd.overlay", "", "192.168.50.1:/client v4"},
		// dracut.cmdline(7).
		{"root=/srv/root", "", "192.168.50.1:/srv/root"},
		{"root=/srv/root:vers=3,nolock", "", "192.168.50.1:/srv/root v3 nolock"},
		{"root=10.0.0.1:/srv/root:vers=3", "", "10.0.0.1:/srv/root v3"},
		{"root=10.0.0.1:/srv/root,vers=3,ro", "", "10.0.0.1:/srv/root v3"},
		{"root=[2001:DB8::1]:/srv/root", "", "2001:DB8::1:/srv/root"},
		{"root=[2001:db8::1]:/srv/root:vers=4.1", "", "2001:db8::1:/srv/root v4.1"},
		{"root=nas.example.org:/srv/root", "", "nas.example.org:/srv/root"},
		{"root=nfs:/srv/root", "", "192.168.50.1:/srv/root"},
		{"root=nfs4:[2001:db8::1]:/srv/root:nconnect=4", "", "2001:db8::1:/srv/root v4 nconnect=4"},
		{"root=dhcp6", "nfs://[2001:db8::1]/srv/root", "2001:db8::1:/srv/root"},
		{"netroot=dhcp", "/nfs/client", one},
		{"root=/dev/root netroot=dhcp", "/nfs/client", one},
		{"netroot=nfs:10.0.0.1:/srv/root:vers=3", "/nfs/client", "10.0.0.1:/srv/root v3"},
		{"root=nfs:10.0.0.1:/a netroot=nfs:10.0.0.1:/b", "", "10.0.0.1:/a"},
		{"netroot=iscsi:user:secret@10.0.0.1::::iqn.x nfsroot=10.0.0.1:/srv/root", "", "10.0.0.1:/srv/root"},
		{"root=/dev/nfs nfsroot=10.0.0.1:/srv/root:ro,vers=3", "", "10.0.0.1:/srv/root v3"},
		{"root=/dev/nfs4 nfsroot=10.0.0.1:/srv/root", "", "10.0.0.1:/srv/root v4"},
		// dracut's nfs-lib.sh has Anaconda's as well.
		{"root=nfs:nolock,vers=3:10.0.0.1:/srv/root", "", "10.0.0.1:/srv/root v3 nolock"},
		{"root=nfs://10.0.0.1:/srv/root", "", "10.0.0.1:/srv/root"},
		{"root=nfs://10.0.0.1:2050/srv/root", "", "10.0.0.1:/srv/root port=2050"},
		// nfsroot.rst.
		{"nfsroot=10.0.0.1:/srv/%s,vers=3,tcp", "", "10.0.0.1:/srv/192.168.50.100 v3 tcp"},
		{"nfsroot=/srv/root", "", "192.168.50.1:/srv/root"},
		{"nfsroot=/srv/root ip=:10.0.0.9::::eth0:dhcp", "", "10.0.0.9:/srv/root"},
		// initramfs-tools(7), and option 17 as its users write it.
		{"nfsroot=10.0.0.1:/srv/root:vers=3", "", "10.0.0.1:/srv/root v3"},
		{"nfsroot=10.0.0.1:/srv/root:vers=3,nolock,rsize=65536", "", "10.0.0.1:/srv/root v3 nolock rsize=65536"},
		{"nfsroot=10.0.0.1:/srv/root:", "", "10.0.0.1:/srv/root"},
		{"nfsroot=10.0.0.1:/srv/a:b", "", "10.0.0.1:/srv/a:b"},
		{"nfsroot=10.0.0.1:/srv/a:b:ro", "", "10.0.0.1:/srv/a:b"},
		{"nfsroot=auto nfsopts=vers=3,nolock", "/nfs/client", one + " v3 nolock"},
		{"nfsroot=10.0.0.1:/srv/root,tcp nfsopts=vers=3,nolock", "", "10.0.0.1:/srv/root v3 tcp"},
		{"", "192.168.50.2:/nfs/client:ro", two},
		{"", "192.168.50.2:/nfs/client:rw,vers=3", two + " v3"},
		{"", "192.168.50.2:/nfs/client,ro", two},
		{"", " 192.168.50.2:/nfs/client\r\n", two},
	} {
		t.Run(tt.cmdline, func(t *testing.T) {
			c, err := Parse(tt.cmdline, "")
			if err != nil {
				t.Errorf("%s: %v", tt.cmdline, err)
				return
			}
			lease := Lease{Addr: addr("192.168.50.100"), RootPath: tt.option17, ServerID: addr("192.168.50.1")}
			for _, ip := range c.IPs {
				lease.Server = ip.Server
			}
			r, err := ResolveRoot(c.Root, lease, c.FileRoot)
			got := r.Server + ":" + r.Path
			if r.Version != "" {
				got += " v" + r.Version
			}
			if len(r.Options) > 0 {
				got += " " + strings.Join(r.Options, " ")
			}
			if err != nil || got != tt.want {
				t.Errorf("%s, option 17 %q: %s, %v, want %s", tt.cmdline, tt.option17, got, err, tt.want)
			}
		})
	}
}

// What is no NFS root is not taken for a server and a path.
func TestRootsOfOthers(t *testing.T) {
	for _, root := range []string{"/dev/sda1", "/dev", "LABEL=x", "live:/dev/sr0", "block:/dev/sda", "zfs:pool/root", "cifs://u:p@nas/x",
		"nbd:10.0.0.1:2000", "iscsi:10.0.0.1::::iqn.x", "http://10.0.0.1/x.img", "virtiofs:tag", "tmpfs", "gpt-auto", "8:1", "0801", "mtd:x", "ubi0:root"} {
		t.Run(root, func(t *testing.T) {
			if c, err := Parse("root="+root, ""); err == nil || !strings.Contains(err.Error(), "sidusboot boots only NFS roots") {
				t.Errorf("root=%s: %+v, %v", root, c.Root, err)
			}
			c, err := Parse("root="+root+" nfsroot=10.0.0.1:/srv", "")
			if err != nil || c.Root.Path != "/srv" || len(c.Notes) != 1 || !strings.Contains(c.Notes[0], "the tree is set by nfsroot=") {
				t.Errorf("root=%s with nfsroot=: %+v, %v, %q", root, c.Root, err, c.Notes)
			}
		})
	}
}

// What the command line says beside an address, in the field's parameters.
func TestNetworkParameters(t *testing.T) {
	for in, want := range map[string]string{
		"rd.route=192.168.200.0/24:192.168.100.222:ens10":                        "192.168.200.0/24 192.168.100.222 ens10",
		"rd.route=192.168.200.7/255.255.255.0:192.168.100.222":                   "192.168.200.0/24 192.168.100.222 ",
		"rd.route=192.168.200.0/24::ens10":                                       "192.168.200.0/24 invalid IP ens10",
		"rd.route=[2001:DB8:3::/8]:[2001:DB8:2::1]:ens10":                        "2000::/8 2001:db8:2::1 ens10",
		"rd.route=0.0.0.0/0:10.0.0.1":                                            "0.0.0.0/0 10.0.0.1 ",
		"rd.route=10.8.0.0/16:10.0.0.1 rd.route=10.9.0.0/16:10.0.0.1":            "10.8.0.0/16 10.0.0.1 10.9.0.0/16 10.0.0.1 ",
		"nameserver=10.0.0.53 nameserver=2001:db8::53 nameserver=[2001:db8::54]": "[10.0.0.53 2001:db8::53 2001:db8::54]",
		"nameserver=10.0.0.53 rd.peerdns=0":                                      "[10.0.0.53] only",
		"BOOTIF=01-52-54-00-12-34-56 rd.bootif=0 ip=dhcp":                        "dhcp",
		"BOOTIF=01-52-54-00-12-34-56 ip=BOOTIF:dhcp:9000":                        "BOOTIF dhcp 9000",
		"BOOTIF=01-52-54-00-12-34-56 ip=::::node7:BOOTIF":                        "BOOTIF dhcp node7",
		"BOOTIF=01-52-54-00-12-34-56 bootdev=BOOTIF ip=bootif:dhcp":              "BOOTIF dhcp",
		"ip=single-dhcp":           "dhcp",
		"ip=dhcp,dhcp6":            "dhcp dhcp6",
		"ip=eth1:dhcp,auto6":       "eth1 dhcp eth1 auto6",
		"ip=:::::eth1:dhcp,dhcp6:": "eth1 dhcp eth1 dhcp6",
		"ip=dhcp,0,dhcp6":          "dhcp \x00dhcp6",
		"root=dhcp6":               "dhcp6",
		"root=dhcp6 ip=auto6":      "auto6",
		"rd.driver.pre=ixgbe,e1000-e rd.driver.post=a rd.modules-load=b": "load [ixgbe e1000_e a b]",
		"rd.driver.blacklist=nouveau,x-y modprobe.blacklist=z":           "not map[nouveau:true x_y:true z:true]",
	} {
		t.Run(in, func(t *testing.T) {
			c, err := Parse(in, "")
			var got []string
			if c.BootIF != nil {
				got = append(got, "BOOTIF")
			}
			for _, ip := range c.IPs {
				got = append(got, strings.TrimSpace(fmt.Sprint(ip.Device, " ", ip.Method, " ", ip.Hostname, ip.ClientID)))
				if ip.MTU > 0 {
					got = append(got, fmt.Sprint(ip.MTU))
				}
			}
			for _, r := range c.Routes {
				got = append(got, fmt.Sprint(r.Dst, " ", r.Gateway, " ", r.Device))
			}
			if len(c.DNS) > 0 {
				got = append(got, fmt.Sprint(c.DNS))
			}
			if c.OnlyDNS {
				got = append(got, "only")
			}
			if len(c.Load) > 0 {
				got = append(got, fmt.Sprint("load ", c.Load))
			}
			if len(c.Blacklist) > 0 {
				got = append(got, fmt.Sprint("not ", c.Blacklist))
			}
			if s := strings.Join(got, " "); err != nil || len(c.Notes) > 0 || strings.Join(strings.Fields(s), " ") != strings.Join(strings.Fields(want), " ") {
				t.Errorf("%s: %s, %v, %q, want %s", in, s, err, c.Notes, want)
			}
		})
	}
	for in, want := range map[string]string{
		"rd.route=10.8.0.0/16":                   "not a network, a gateway",
		"rd.route=10.8.0.0/16:":                  "neither a gateway nor a device",
		"rd.route=10.8.0.0:10.0.0.1":             "not a netmask",
		"rd.route=x/16:10.0.0.1":                 "not a network such as",
		"rd.route=10.8.0.0/16:[2001:db8::1]":     "must both be IPv4 or both IPv6",
		"nameserver=dns":                         "not an address",
		"nameserver=0.0.0.0":                     "not an address",
		"rd.driver.pre=a/b":                      "not names of modules",
		"ip=BOOTIF:dhcp":                         "there is no BOOTIF=",
		"nfsroot=10.0.0.1:/srv nfsopts=nosuid":   "would have no effect",
		"netroot=iscsi:u:geheim@10.0.0.1::::iqn": "netroot= is ignored",
		"root=nfs:/a netroot=iscsi:u:geheim@a:b": "netroot= is ignored",
		"rd.iscsi.password2=geheim":              `"rd.iscsi.password2" is not supported`,
		"rd.whatever=geheim":                     `"rd.whatever" is not supported: it is a parameter of dracut`,
	} {
		t.Run(in, func(t *testing.T) {
			c, err := Parse(in, "")
			if notes := strings.Join(c.Notes, "; "); err != nil || !strings.Contains(notes, want) || strings.Contains(notes, "geheim") {
				t.Errorf("%s: %v, %q, want a note with %q", in, err, notes, want)
			}
		})
	}
}
