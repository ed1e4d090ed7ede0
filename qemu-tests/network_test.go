//go:build qemu

package qemutests

import (
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/sidusboot/sidusboot/network/networktest"
)

// uncached reads a file of the tree that the node has not in its memory.
const uncached = "echo 3 >/proc/sys/vm/drop_caches; cat /ro/usr/share/sidusboot-test/lower"

// TestSwitch boots nodes behind a switch: in a VLAN, by two NICs of which one is
// for the other's failure, and by two NICs that are one by LACP, in a VLAN. The
// root stays when a cable is pulled.
func TestSwitch(t *testing.T) {
	t.Parallel()
	s := newSite(t, "bookworm")
	s.nfs(Export{}, NFSOptions{})
	s.dhcp(DHCPOptions{})
	sw, err := s.StartSwitch(s.ctx, SwitchOptions{Tree: s.tree, Kernel: s.kernel, Initrd: s.image})
	if err != nil {
		t.Fatal(err)
	}
	cables := []NIC{{Model: "e1000", MAC: MAC(1), Cable: "port0", End: 1}, {Model: "e1000", MAC: MAC(2), Cable: "port1", End: 1}}

	if err := sw.Plain(s.ctx, 5); err != nil {
		t.Fatal(err)
	}
	g := s.boot(s.root("vers=3 ")+probeParams+" vlan=eth0.5:eth0", GuestOptions{NICs: cables[:1]})
	s.same(g, []answer{
		{uncached, "from the shared tree"},
		{"ip -4 -o addr show | awk '$2 != \"lo\" { print $2, $4 }'", "eth0.5 10.77.0.11/24"},
		{"awk '/VID/ { print $3 }' /proc/net/vlan/eth0.5", "5"},
		{". /run/net-eth0.5.conf; echo $DEVICE $IPV4ADDR", "eth0.5 10.77.0.11"},
	})
	if r := s.report(g); r.Network.Device != "eth0.5" || r.Network.MAC != MAC(1) {
		t.Errorf("network %+v", r.Network)
	}
	g.Kill()

	if err := sw.Plain(s.ctx, 0); err != nil {
		t.Fatal(err)
	}
	g = s.boot(s.root("vers=3 ")+probeParams+" bond=bond0:eth0,eth1:mode=active-backup,primary=eth0,updelay=200", GuestOptions{NICs: cables})
	s.same(g, []answer{
		{uncached, "from the shared tree"},
		{"cat /sys/class/net/bond0/bonding/mode /sys/class/net/bond0/bonding/active_slave /sys/class/net/bond0/bonding/miimon /sys/class/net/bond0/bonding/updelay", "active-backup 1\neth0\n100\n200"},
		{"ip -4 -o addr show | awk '$2 != \"lo\" { print $2, $4 }'", "bond0 10.77.0.11/24"},
	})
	if err := g.SetLink(s.ctx, 0, false); err != nil {
		t.Fatal(err)
	}
	s.same(g, []answer{
		{uncached, "from the shared tree"},
		{"cat /sys/class/net/bond0/bonding/active_slave", "eth1"},
	})
	g.Kill()

	if err := sw.Bond(s.ctx, 7, "mode 802.3ad lacp_rate fast"); err != nil {
		t.Fatal(err)
	}
	g = s.boot(s.root("vers=3 ")+probeParams+" bond=bond0:eth0,eth1:mode=802.3ad,lacp_rate=fast,xmit_hash_policy=layer3+4 vlan=vlan0007:bond0", GuestOptions{NICs: cables})
	const lacp = "/sys/class/net/bond0/bonding/"
	// The node boots by the first card that is ready.
	s.until(g, "cat "+lacp+"ad_num_ports", "2")
	s.same(g, []answer{
		{uncached, "from the shared tree"},
		{"cat " + lacp + "mode " + lacp + "ad_num_ports", "802.3ad 4\n2"},
		{"cat " + lacp + "ad_partner_mac", MAC(0xf2)},
		{"ip -4 -o addr show | awk '$2 != \"lo\" { print $2, $4 }'", "vlan0007 10.77.0.11/24"},
	})
	if err := g.SetLink(s.ctx, 1, false); err != nil {
		t.Fatal(err)
	}
	s.same(g, []answer{{uncached, "from the shared tree"}})
}

// TestIPv6 boots nodes of a network without IPv4: the address by a router's
// prefix and by DHCPv6, the root by NFS 4 and 3.
func TestIPv6(t *testing.T) {
	t.Parallel()
	Require(t)
	for name, test := range map[string]struct{ dhcp, params, options, version, addr string }{
		"router": {"fd77::,ra-stateless", "", ",vers=4", "4.2", "fd77::5054:ff:fe77:1/64"},
		"dhcp":   {"fd77::100,fd77::1ff,64,1h", "", "", "3", "fd77::111/64"},
		"v3":     {"fd77::100,fd77::1ff,64,1h", "ip=eth0:dhcp6 ", ",vers=3", "3", "fd77::111/64"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSiteIn(t, Variant{Suite: "bookworm"}, LabOptions{IPv6: true})
			s.nfs(Export{}, NFSOptions{})
			if _, err := s.Output(s.ctx, "ip", "addr", "del", ServerAddr+"/24", "dev", bridge); err != nil {
				t.Fatal(err)
			}
			s.dhcp(DHCPOptions{First: "none", Extra: []string{
				"--enable-ra", "--dhcp-range=" + test.dhcp, "--dhcp-host=" + MAC(1) + ",[fd77::111]",
				"--dhcp-option=option6:dns-server,[fd77::53]", "--dhcp-option=option6:domain-search,a.test",
			}})
			g := s.boot("nfsroot=["+ServerAddr6+"]:"+s.tree+test.options+" "+test.params+probeParams, GuestOptions{})
			s.same(g, []answer{
				{uncached, "from the shared tree"},
				{"cat /etc/resolv.conf", "search a.test\nnameserver fd77::53"},
				{"ip -4 -o addr show | awk '$2 != \"lo\"'", ""},
				{". /run/net6-eth0.conf; echo $DEVICE6 $IPV6ADDR", "eth0 " + strings.Split(test.addr, "/")[0]},
			})
			if r := s.report(g); r.Root.NFSVersion != test.version || r.Network.Address != test.addr || r.Attempts != 1 {
				t.Errorf("root %+v, network %+v in attempt %d", r.Root, r.Network, r.Attempts)
			}
		})
	}
}

// TestSecondNIC boots a node with two NICs, and DHCP behind the second only;
// the second one has a name of its own, and a third one an address made of the
// node's.
func TestSecondNIC(t *testing.T) {
	t.Parallel()
	s := newSite(t, "bookworm")
	s.nfs(Export{}, NFSOptions{})
	s.image = s.build("--profile=infiniband")
	s.dhcp(DHCPOptions{MTU: 9000})
	if _, err := s.Output(s.ctx, "ip", "link", "set", bridge, "mtu", "9000"); err != nil {
		t.Fatal(err)
	}
	g := s.boot(s.root("vers=3 ")+probeParams+" ifname=ib0:"+MAC(3)+" sidus.ib=ib0:10.20.%3.%4/16 ip=ib0:off", GuestOptions{
		NICs: []NIC{{MAC: MAC(9), Detached: true}, {MAC: MAC(1), MTU: 9000}, {MAC: MAC(3), Detached: true}},
	})
	s.says(g, "no address on eth0 so far: trying eth1 as well")
	s.same(g, []answer{
		{"ip -4 -o addr show | awk '$2 != \"lo\" { print $2, $4 }' | sort", "eth1 10.77.0.11/24\nib0 10.20.0.11/16"},
		{"cat /sys/class/net/eth0/operstate", "down"},
		{"cat /sys/class/net/eth1/mtu", "9000"},
		{"ping -q -c 1 -W 5 -M do -s 8000 10.77.0.1 | grep -c '1 received'", "1"},
	})
	e, err := g.WaitStage(s.ctx, "network", Done)
	if err != nil {
		t.Fatal(err)
	}
	s.took(g, "the network", e.Took, 30*time.Second)
}

// TestHostileDHCP boots a node by a server whose strings would be commands,
// lines or paths elsewhere, among floods of garbage. Nothing of it is executed,
// and nothing is written but what a lease is for.
func TestHostileDHCP(t *testing.T) {
	t.Parallel()
	Require(t)
	s := newSite(t, "bookworm")
	s.nfs(Export{}, NFSOptions{})
	random := rand.New(rand.NewPCG(3, 4))
	server, err := s.StartFakeDHCP(func(_ int, m *dhcpv4.DHCPv4) [][]byte {
		hostile := networktest.Reply(m, NodeAddr,
			dhcpv4.WithOption(dhcpv4.OptHostName("../../tmp/x;touch /etc/pwned")),
			dhcpv4.WithOption(dhcpv4.OptDomainName("a.test\nnameserver 6.6.6.6")),
			dhcpv4.WithOption(dhcpv4.OptRootPath("$(touch /etc/pwned)'; touch /etc/pwned; ':/srv")),
			dhcpv4.WithDNS(net.IPv4(10, 77, 0, 53)),
			dhcpv4.WithDomainSearchList("$(touch", "/etc/pwned)", "a b", "`reboot`"),
			func(d *dhcpv4.DHCPv4) { d.BootFileName = "'; touch /etc/pwned; '" })
		var all [][]byte
		for range 100 {
			garbled := slices.Clone(networktest.Reply(m, "0.0.0.0"))
			for range 1 + random.IntN(20) {
				garbled[240+random.IntN(len(garbled)-240)] = byte(random.Uint32())
			}
			all = append(all, garbled[:236+random.IntN(len(garbled)-236)])
		}
		return append(all, hostile)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	g := s.boot(s.root("vers=3 ")+probeParams, GuestOptions{})
	s.same(g, []answer{
		{". /run/net-eth0.conf; echo $IPV4ADDR $HOSTNAME", NodeAddr},
		{"find / -xdev -name pwned; ls /tmp", ""},
		{"cat /etc/hostname", "sidus-tree"},
		{"grep -c 6.6.6.6 /etc/resolv.conf || true", "0"},
		{"grep ^nameserver /etc/resolv.conf", "nameserver 10.77.0.53"},
		{"find /rw/upper -type f | sort | paste -s -d ' '", "/rw/upper/etc/fstab /rw/upper/etc/hostid /rw/upper/etc/machine-id /rw/upper/etc/resolv.conf"},
	})
	s.says(g, `"../../tmp/x;touch /etc/pwned" is not a host name`)
}

// acknowledged counts the leases that the lab's DHCP server has given the node.
func acknowledged(server *Server) int {
	return strings.Count(server.Log(), "DHCPACK("+bridge+") "+NodeAddr)
}

// TestLease lets a node on its LUN live with a lease of two minutes for a while,
// and then without its DHCP server until the lease has run out: it keeps address,
// root and LUN, says what is wrong, and renews again. A soak takes ten minutes
// for it.
func TestLease(t *testing.T) {
	t.Parallel()
	s := newSite(t, "bookworm")
	renewed, alone := 80*time.Second, 130*time.Second
	if Soaking() {
		renewed, alone = 4*time.Minute, 5*time.Minute
	}
	s.image = s.build(lunProfile)
	s.nfs(Export{}, NFSOptions{})
	server := s.dhcp(DHCPOptions{Lease: 2 * time.Minute})
	_, file := s.volume("lun", 64<<20)
	s.tgt(LUN{Target: nodeTarget, File: file})
	g := s.boot(s.volumeParams("sidus.mkfs=blank"), GuestOptions{NICs: []NIC{{MAC: MAC(1)}}})
	s.run(g, "touch /root/before")
	alive := func(when string) {
		t.Helper()
		s.same(g, []answer{
			{uncached, "from the shared tree"},
			{"ip -4 -o addr show dev eth0 | awk '{ print $4 }'", NodeAddr + "/24"},
			{"echo " + when + " >>/root/alive; sync /root/alive; tail -n 1 /root/alive", when},
			{"awk '$2 == \"/rw\" { print $4 }' /proc/mounts | cut -d, -f1", "rw"},
		})
	}
	s.rest(renewed)
	alive("renewed")
	if n, want := acknowledged(server), max(2, int(renewed.Minutes())); n < want {
		t.Errorf("%d leases in %v, want one at the beginning and one a minute:\n%s", n, renewed, server.Log())
	}
	if strings.Contains(g.Console(), "lease of") {
		t.Errorf("renewals are news on the console")
	}
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	s.rest(alone)
	for _, text := range []string{"the lease of " + NodeAddr + " on eth0 is not renewed: no answer from DHCP", "THE LEASE OF " + NodeAddr + " ON eth0 HAS EXPIRED"} {
		if _, err := g.Expect(s.ctx, "sidusboot-keeper: network: "+text); err != nil {
			t.Error(err)
		}
	}
	alive("alone")
	server = s.dhcp(DHCPOptions{Lease: 2 * time.Minute})
	if _, err := g.Expect(s.ctx, "the lease of "+NodeAddr+" on eth0 was renewed"); err != nil {
		t.Error(err)
	}
	alive("again")
	if n := acknowledged(server); n == 0 {
		t.Errorf("no lease from the server that came back:\n%s", server.Log())
	}
	s.same(g, []answer{
		{"pgrep -c -f ^@sidusboot-keeper", "1"},
		{"test $(awk '/VmRSS/ { print $2 }' /proc/$(pgrep -f ^@sidusboot-keeper)/status) -le 12288 && echo small", "small"},
	})
}
