//go:build qemu

package qemutests

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
)

// secondAddr is another address of the lab's servers: a node that mounts from
// there was told so, and did not take the DHCP server's for it.
const secondAddr = "10.77.0.2"

// TestWhereTheRootIs boots nodes that are told where the tree is by each of the
// ways there are, with wrong ones beside those that win.
func TestWhereTheRootIs(t *testing.T) {
	t.Parallel()
	Require(t)
	const (
		byLine = "command line"
		by17   = "DHCP option 17"
		byFile = "/etc/sidusboot.conf"
	)
	for _, test := range []struct {
		name string
		// line, file and option17 are the three places; %T is the tree.
		line, file string
		dhcp       DHCPOptions
		origin     string
		// soak: only in a soak, as the difference is in parsing only.
		soak bool
	}{
		{name: "option17", dhcp: DHCPOptions{RootPath: secondAddr + ":%T,vers=3"}, origin: by17},
		{name: "option17AsPath", dhcp: DHCPOptions{RootPath: "%T,vers=3", NextServer: secondAddr}, line: "nfsroot=auto", origin: "path: " + by17 + ", server: DHCP next-server"},
		{name: "option17ByDracut", soak: true, dhcp: DHCPOptions{RootPath: "nfs:" + secondAddr + ":%T:vers=3"}, line: "root=dhcp", origin: by17},
		{name: "option17OverFile", soak: true, dhcp: DHCPOptions{RootPath: secondAddr + ":%T,vers=3"}, file: "nfsroot=" + ServerAddr + ":/of/the/file\n", origin: by17},
		{name: "nfsroot", soak: true, line: "nfsroot=" + secondAddr + ":%T,vers=3", origin: byLine},
		{name: "nfsrootOverAll", line: "nfsroot=" + secondAddr + ":%T,vers=3", dhcp: DHCPOptions{RootPath: ServerAddr + ":/of/option/17"},
			file: "nfsroot=" + ServerAddr + ":/of/the/file\n", origin: byLine},
		// Nothing says where the kernel came from: QEMU started it.
		{name: "pathOnly", line: "nfsroot=%T,vers=3 sidus.server=boot,", dhcp: DHCPOptions{NextServer: secondAddr}, origin: "path: " + byLine + ", server: DHCP next-server"},
		{name: "dracut", soak: true, line: "root=nfs:" + secondAddr + ":%T:vers=3", origin: byLine},
		{name: "file", file: "# one tree for all\nnfsroot=" + secondAddr + ":%T,vers=3\n", origin: byFile},
		{name: "name", line: "nfsroot=files.sidus.test:%T,vers=3", dhcp: DHCPOptions{Names: map[string]string{"files.sidus.test": secondAddr}},
			origin: byLine},
		{name: "hostOfURL", soak: true, line: "nfsroot=%T,vers=3 sidus.server=boot,http://user:correct-horse@files.sidus.test:8080/sidus/",
			dhcp: DHCPOptions{Names: map[string]string{"files.sidus.test": secondAddr}}, origin: "path: " + byLine + ", server: sidus.server="},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if test.soak {
				Soak(t)
			}
			s := newSite(t, "bookworm")
			fill := func(text string) string { return strings.ReplaceAll(text, "%T", s.tree) }
			if test.file != "" {
				s.image = s.build("--config=" + s.file("sidusboot.conf", fill(test.file)))
			}
			s.addSecondAddr()
			test.dhcp.RootPath = fill(test.dhcp.RootPath)
			s.nfs(Export{}, NFSOptions{})
			s.dhcp(test.dhcp)
			g := s.boot(fill(test.line)+" "+probeParams, GuestOptions{})

			s.same(g, []answer{
				{"cat /usr/share/sidusboot-test/lower", "from the shared tree"},
				{`awk '$2 == "/ro" { print $1, $3 }' /proc/mounts`, secondAddr + ":" + s.tree + " nfs"},
				{"grep -rl correct-horse /run/sidusboot || true", ""}, // The password of a URL.
			})
			r := s.report(g)
			if r.Root.Origin != test.origin || r.Root.NFSVersion != "3" || r.Attempts != 1 {
				t.Errorf("root %+v in attempt %d, want it by version 3 in the first, from: %s", r.Root, r.Attempts, test.origin)
			}
		})
	}
}

// TestStaticAddress boots a node with all it needs in ip= and no DHCP server.
func TestStaticAddress(t *testing.T) {
	t.Parallel()
	s := newSite(t, "bookworm")
	s.nfs(Export{}, NFSOptions{})
	g := s.boot("ip=10.77.0.21::10.77.0.1:255.255.255.0:nodex:eth0:off "+s.root("vers=3")+" "+probeParams, GuestOptions{})

	s.same(g, []answer{
		{"hostname", "nodex"},
		{"cat /etc/hostname", "nodex"},
		{"ip -4 -o addr show dev eth0 | awk '{ print $4, $6 }'", "10.77.0.21/24 10.77.0.255"},
		{"ip route show default", "default via 10.77.0.1 dev eth0"},
		{"cat /etc/resolv.conf", "nameserver 192.0.2.1"},
		{". /run/net-eth0.conf; echo $PROTO $IPV4ADDR $IPV4GATEWAY $HOSTNAME", "none 10.77.0.21 10.77.0.1 nodex"},
	})
	if r := s.report(g); r.Network.Proto != "none" || r.Network.Address != "10.77.0.21/24" {
		t.Errorf("network %+v, want a static 10.77.0.21/24", r.Network)
	}
}

// TestTwoNodes boots two nodes of one tree at once: each is itself, and neither
// sees what the other writes.
func TestTwoNodes(t *testing.T) {
	t.Parallel()
	Require(t)
	if os.Getenv("SIDUSBOOT_GUESTS") == "1" {
		t.Skip("needs two guests at a time, and SIDUSBOOT_GUESTS=1")
	}
	s := newSite(t, "bookworm")
	s.boots(2, siteTime)
	s.nfs(Export{}, NFSOptions{})
	hosts := []DHCPHost{
		{MAC: "52:54:00:77:01:21", Addr: "10.77.0.21", Name: "left"},
		{MAC: "52:54:00:77:01:22", Addr: "10.77.0.22", Name: "right"},
	}
	s.dhcp(DHCPOptions{Hosts: slices.Clone(hosts)})
	guests := make([]*Guest, len(hosts))
	var booting sync.WaitGroup
	for i, host := range hosts {
		booting.Go(func() {
			guests[i] = s.boot(s.root("vers=3")+" "+probeParams, GuestOptions{Name: host.Name, NICs: []NIC{{MAC: host.MAC}}})
		})
	}
	booting.Wait()
	for i, host := range hosts {
		s.same(guests[i], []answer{
			{"hostname", host.Name},
			{"ip -4 -o addr show dev eth0 | awk '{ print $4 }'", host.Addr + "/24"},
			{"hostname > /usr/share/sidusboot-test/own && cat /usr/share/sidusboot-test/own", host.Name},
		})
	}
	// Both have written by now.
	for i, host := range hosts {
		s.same(guests[i], []answer{{"cat /usr/share/sidusboot-test/own", host.Name}})
	}
	if _, err := os.Stat(s.tree + "/usr/share/sidusboot-test/own"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what the nodes wrote is in the tree: %v", err)
	}
}

// TestCards boots by cards that have drivers of their own: the driver is taken
// by what the node has, and no other one is loaded.
func TestCards(t *testing.T) {
	t.Parallel()
	Require(t)
	drivers := map[string]string{"virtio-net-pci": "virtio_net", "e1000": "e1000", "vmxnet3": "vmxnet3"}
	for model, driver := range drivers {
		t.Run(model, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, "bookworm")
			s.nfs(Export{}, NFSOptions{})
			s.dhcp(DHCPOptions{})
			g := s.boot(s.root("vers=3")+" sidus.nic=driver="+driver+" "+probeParams, GuestOptions{NICs: []NIC{{Model: model}}})

			r := s.report(g)
			if r.Network.Driver != driver {
				t.Errorf("driver %s, want %s", r.Network.Driver, driver)
			}
			loaded := strings.Fields(s.run(g, "awk '{ print $1 }' /proc/modules"))
			slices.Sort(loaded)
			slices.Sort(r.Modules)
			if !slices.Equal(loaded, r.Modules) {
				t.Errorf("loaded: %v, boot.json says %v", loaded, r.Modules)
			}
			for _, needed := range []string{driver, "nfsv3", "overlay"} {
				if !slices.Contains(loaded, needed) {
					t.Errorf("%s is not loaded", needed)
				}
			}
			others := slices.Collect(maps.Values(drivers))
			for _, needless := range append(others, "nfsv4", "aufs", "e1000e", "xen_netfront", "hv_netvsc", "ext4", "iscsi_tcp") {
				if needless != driver && slices.Contains(loaded, needless) {
					t.Errorf("%s is loaded, and not needed", needless)
				}
			}
		})
	}
}

// TestParameters boots a node with parameters of every kind on its command line and looks
// for the trace of each, and at what the real init is handed.
func TestParameters(t *testing.T) {
	t.Parallel()
	s := newSite(t, "bookworm")
	s.nfs(Export{}, NFSOptions{})
	s.dhcp(DHCPOptions{})
	// The kernel drops what stands before init= from the arguments of init.
	g := s.boot(probeParams+" "+s.root("vers=3,acregmin=7")+" sidus.rw.size=64m sidus.hostname=n-%I sidus.rw.sizes=1g "+
		"sunrpc.tcp_max_slot_table_entries=128 single foo=bar ISCSI_PASSWORD=x sidus.iscsi.password=y", GuestOptions{})

	s.same(g, []answer{
		{"stat -f -c '%T %b %S' /rw", fmt.Sprintf("tmpfs %d 4096", 64<<20/4096)},
		{"stat -c '%a %u %g' / /rw /ro", "755 0 0\n755 0 0\n755 0 0"},
		{"hostname", "n-0A4D000B"},
		{"cat /sys/module/sunrpc/parameters/tcp_max_slot_table_entries", "128"},
		{`tr '\0' ' ' </proc/1/cmdline`, "/bin/sh " + AgentInit + " single"},
		{`tr '\0' '\n' </proc/1/environ | sort`, "HOME=/\nTERM=linux\nfoo=bar"},
		{`awk '$2 == "/ro" { print $4 }' /proc/mounts | grep -o acregmin=7`, "acregmin=7"},
		{"cat /proc/sys/kernel/printk_devkmsg", "ratelimit"},
	})
	s.says(g, `"sidus.rw.sizes" is not a parameter of sidusboot and is ignored; did you mean sidus.rw.size?`)
	// The two passwords are in /proc/cmdline, and nowhere else.
	s.same(g, []answer{{"grep -r -l -i password /proc/1/environ /run/sidusboot /run/*.conf || true", ""}})
	checkFreed(s, g)
	checkEvents(t, g)
}

// checkFreed checks that the memory of the initramfs, a tmpfs when there is no
// root= word, was given back: what all tmpfs hold is in the ones that are
// mounted, one of them with the resident process, which renews the lease.
func checkFreed(s *site, g *Guest) {
	s.t.Helper()
	out := s.run(g, "awk '/^Shmem:/ { print $2 }' /proc/meminfo; df -k --output=used /run /run/initramfs /rw /dev | tail -n +2")
	var shmem, run, resident, rw, dev int
	if _, err := fmt.Sscan(out, &shmem, &run, &resident, &rw, &dev); err != nil {
		s.t.Fatalf("%q: %v", out, err)
	}
	if hidden := shmem - run - resident - rw - dev; hidden > 256 {
		s.t.Errorf("%d kB are held by a tmpfs that is not visible, the initramfs: want none", hidden)
	}
}

// checkEvents checks what a node that came up at once told on its event port.
func checkEvents(t *testing.T, g *Guest) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if _, err := g.WaitStage(ctx, "handover", Begin); err != nil {
		t.Fatal(err)
	}
	var got []string
	last := Event{}
	for _, e := range g.Events() {
		got = append(got, e.Stage+" "+e.State)
		if e.Uptime < last.Uptime || e.Took > e.Uptime {
			t.Errorf("%+v comes after %+v", e, last)
		}
		last = e
	}
	// The port is opened in the stage config.
	want := []string{"config done"}
	for _, stage := range []string{"modules", "network", "nfs", "rw", "union", "identity"} {
		want = append(want, stage+" "+Begin, stage+" "+Done)
	}
	want = append(want, "handover "+Begin)
	if !slices.Equal(got, want) {
		t.Errorf("stages told: %v, want %v", got, want)
	}
}
