package plan

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sidusboot/sidusboot/config"
	"github.com/sidusboot/sidusboot/network"
	"github.com/sidusboot/sidusboot/network/networktest"
)

// What the parameters make of the NICs, without carrying it out.
func TestNetwork(t *testing.T) {
	for cmdline, want := range map[string]string{
		"":                            "with a cable",
		"ip=dhcp":                     "with a cable",
		"ip=eth1:dhcp":                "eth1",
		"BOOTIF=01-52-54-00-12-34-56": "with a cable",
		"sidus.nic=52:54:00:12:34:56": "52:54:00:12:34:56",
		"BOOTIF=01-52-54-00-12-34-56 ip=:::::eth2:dhcp": "eth2",
		"BOOTIF=01-52-54-00-12-34-56 sidus.nic=eth3":    "eth3",
		"sidus.nic=driver=e1000":                        "with the driver e1000",
		"ip=eth1:off":                                   "with a cable, not eth1",
		"ip=off":                                        "with a cable",
		"ip=eth0:dhcp ip=10.0.0.7:::24::eth0:none":      "eth0 by 1",
		"ip=eth0:dhcp ip=eth0:auto6":                    "eth0, eth0 by 2",
		// What pxelinux adds by IPAPPEND 3.
		"ip=dhcp ip=10.0.0.7:10.0.0.1:10.0.0.254:255.255.255.0 BOOTIF=01-52-54-00-12-34-56": "with a cable by 1",
		"ip=eth0:dhcp ip=eth1:dhcp":              "eth0, eth1",
		"ip=eth0:dhcp ip=eth1:dhcp bootdev=eth1": "eth0 aside, eth1",
		"bootdev=eth1":                           "eth1",
		"vlan=eth0.5:eth0":                       "eth0.5",
		"vlan=eth0.5:eth0 ip=eth0.5:dhcp ip=10.0.0.7:::24::eth1:none bootdev=eth0.5": "eth0.5, eth1 by 1 aside",
		"bond=bond0:eth0,eth1:mode=802.3ad BOOTIF=01-52-54-00-12-34-56":              "bond0",
		"bond=bond0:eth0,eth1:mode=802.3ad vlan=vlan7:bond0":                         "vlan7",
		"nfsroot=[2001:db8::1]:/srv":                                                 "with a cable by 2",
		"nfsroot=[2001:db8::1]:/srv ip=dhcp":                                         "with a cable",
		"ip=auto6":                                                                   "with a cable by 2",
		"ip=eth0:dhcp6":                                                              "eth0 by 3",
	} {
		t.Run(cmdline, func(t *testing.T) {
			c, err := config.Parse(cmdline, "")
			if err != nil {
				t.Errorf("%s: %v", cmdline, err)
				return
			}
			p := Network(&c)
			var got []string
			for _, w := range p.Interfaces {
				text := w.String()
				if w.Method > network.MethodDHCP {
					text += fmt.Sprintf(" by %d", w.Method)
				}
				if w.Secondary {
					text += " aside"
				}
				got = append(got, text)
			}
			for _, name := range p.Ignore {
				got = append(got, "not "+name)
			}
			if s := strings.Join(got, ", "); s != want {
				t.Errorf("%q: %s, want %s", cmdline, s, want)
			}
		})
	}
}

// The family of the network is that of the server which the node will use.
func TestNetworkFamily(t *testing.T) {
	for _, tt := range []struct {
		cmdline, file string
		want          network.Method
	}{
		{"nfsroot=/srv sidus.server=boot,tftp://[2001:db8::1]/", "", network.MethodRouter},
		{"nfsroot=/srv sidus.server=http://10.0.0.1/", "", network.MethodDHCP},
		{"nfsroot=10.0.0.1:/srv sidus.server=[2001:db8::1]", "", network.MethodDHCP},
		{"nfsroot=/srv sidus.server=[2001:db8::1] ip=dhcp", "", network.MethodDHCP},
		{"sidus.server=[2001:db8::1]", "nfsroot=10.0.0.1:/srv", network.MethodDHCP},
		{"sidus.server=[2001:db8::1]", "nfsroot=/srv", network.MethodRouter},
		{"nfsroot=/srv sidus.server=[2001:db8::1]", "nfsroot=10.0.0.1:/srv", network.MethodRouter},
	} {
		t.Run(tt.cmdline+" "+tt.file, func(t *testing.T) {
			c, err := config.Parse(tt.cmdline, tt.file)
			if err != nil {
				t.Fatal(err)
			}
			if got := Network(&c).Interfaces[0].Method; got != tt.want {
				t.Errorf("method %d, want %d", got, tt.want)
			}
		})
	}
}

// A server that is named by an address is reached from a NIC that has one of its family.
func TestReaches(t *testing.T) {
	for _, tt := range []struct {
		cmdline, server string
		want            bool
	}{
		{"", "10.0.0.1", true},
		{"", "nas", true},
		{"", "2001:db8::1", false},
		{"", "::ffff:10.0.0.1", true},
		{"ip=auto6", "2001:db8::1", true},
		{"ip=auto6", "10.0.0.1", false},
		{"ip=auto6", "nas", true},
		{"ip=10.0.0.7:::24::eth0:none", "2001:db8::1", false},
		{"ip=[2001:db8::7]:::64::eth0:none", "2001:db8::1", true},
		{"ip=eth0:dhcp ip=eth0:auto6", "2001:db8::1", true},
	} {
		t.Run(tt.cmdline+" "+tt.server, func(t *testing.T) {
			c, err := config.Parse(tt.cmdline, "")
			if err != nil {
				t.Fatal(err)
			}
			if got := Reaches(Network(&c), tt.server); got != tt.want {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
}

// TestIPForms carries out each form of ip=, with a DHCP server and two NICs,
// and compares what the kernel has then with what the owner of the form
// documents: nfsroot.rst for the kernel's, klibc's README.ipconfig,
// dracut.cmdline(7).
func TestIPForms(t *testing.T) {
	const dhcp11 = "eth0 10.77.0.11/24 via 10.77.0.1 dns 10.77.0.53 ntp 10.77.0.4 mtu 1500 mac 52:54:00:77:00:01 name node11"
	const dhcp12 = "eth1 10.77.0.12/24 via 10.77.0.1 dns 10.77.0.53 ntp 10.77.0.4 mtu 1500 mac 52:54:00:77:00:02 name node12"
	const static = "eth0 10.77.0.7/24 via - dns - ntp - mtu 1500 mac 52:54:00:77:00:01 name -"
	for _, tt := range []struct{ cmdline, want string }{
		// The kernel's.
		{"ip=dhcp", dhcp11}, {"ip=on", dhcp11}, {"ip=any", dhcp11}, {"ip=", dhcp11}, {"", dhcp11}, {"ip=off", dhcp11},
		{"ip=10.77.0.7:10.77.0.1:10.77.0.254:255.255.255.0:node7:eth0:off:10.77.0.2:10.77.0.3:10.77.0.5",
			"eth0 10.77.0.7/24 via 10.77.0.254 dns 10.77.0.2 10.77.0.3 ntp 10.77.0.5 mtu 1500 mac 52:54:00:77:00:01 name node7"},
		{"ip=10.77.0.7:::255.255.255.0::eth0:none", static},
		{"ip=10.77.0.7:::24", static},
		{"ip=10.77.0.7:::24::eth1", strings.NewReplacer("eth0", "eth1", "00:01", "00:02").Replace(static)},
		{"ip=10.77.0.7:", strings.Replace(static, "/24", "/8", 1)},
		// pxelinux's IPAPPEND 1.
		{"ip=10.77.0.7:10.77.0.1:10.77.0.254:255.255.255.0", strings.Replace(static, "via -", "via 10.77.0.254", 1)},
		// klibc's.
		{"ip=:::::eth1:dhcp", dhcp12}, {"ip=::::mine::dhcp", strings.Replace(dhcp11, "node11", "mine", 1)},
		{"ip=::10.77.0.254::::dhcp", strings.Replace(dhcp11, "via 10.77.0.1 ", "via 10.77.0.254 ", 1)},
		{"ip=:::::eth0:off ip=:::::eth1:dhcp", dhcp12},
		{"ip=eth0:off", dhcp12},
		// dracut's.
		{"ip=eth1:dhcp", dhcp12}, {"ip=eth1:dhcp:1400", strings.Replace(dhcp12, "mtu 1500", "mtu 1400", 1)},
		{"ip=eth1:dhcp:1400:52:54:00:77:00:01", strings.NewReplacer("eth0", "eth1", "mtu 1500", "mtu 1400").Replace(dhcp11)},
		{"ip=10.77.0.7:::24::eth0:none:1400", strings.Replace(static, "mtu 1500", "mtu 1400", 1)},
		{"ip=eth0:dhcp ip=eth1:dhcp bootdev=eth1", dhcp12 + " and eth0 10.77.0.11/24"},
		{"ip=10.77.0.7:::24::eth0:none ip=eth1:dhcp bootdev=eth1", dhcp12 + " and eth0 10.77.0.7/24"},
		{"ip=auto6", "eth0 fd77::5054:ff:fe77:1/64 via - dns fd77::1 ntp - mtu 1500 mac 52:54:00:77:00:01 name -"},
		{"ip=[fd77::7]:::64::eth0:none:[fd77::53]", "eth0 fd77::7/64 via - dns fd77::53 ntp - mtu 1500 mac 52:54:00:77:00:01 name -"},
		// Of both, and of others.
		{"ip=single-dhcp", dhcp11}, {"ip=dhcp,dhcp6", dhcp11}, {"ip=eth1:dhcp,auto6", dhcp12 + " and eth1 fd77::5054:ff:fe77:2/64"},
		{"ip=enx525400770002:dhcp", strings.Replace(dhcp12, "eth1", "enx525400770002", 1)},
		{"nameserver=10.77.0.99", strings.Replace(dhcp11, "dns ", "dns 10.77.0.99 ", 1)},
		{"nameserver=10.77.0.99 rd.peerdns=0", strings.Replace(dhcp11, "dns 10.77.0.53", "dns 10.77.0.99", 1)},
		{"rd.peerdns=0", strings.Replace(dhcp11, "dns 10.77.0.53", "dns -", 1)},
		{"rd.route=0.0.0.0/0:10.77.0.9", strings.Replace(dhcp11, "via 10.77.0.1 ", "via 10.77.0.9 ", 1)},
		// Whose NIC.
		{"BOOTIF=01-52-54-00-77-00-02", dhcp12}, {"BOOTIF=01-52-54-00-77-00-02 ip=BOOTIF:dhcp", dhcp12},
		{"BOOTIF=01-52-54-00-77-00-02 rd.bootif=0", dhcp11}, {"BOOTIF=01-02-00-00-00-00-01", dhcp11},
		{"BOOTIF=01-52-54-00-77-00-02 ip=::::mine:BOOTIF", strings.Replace(dhcp12, "node12", "mine", 1)},
		{"sidus.nic=eth1", dhcp12}, {"sidus.nic=52:54:00:77:00:02", dhcp12},
		{"ifname=eth0:52:54:00:77:00:02 ip=eth0:dhcp", strings.Replace(dhcp12, "eth1", "eth0", 1)},
		// The kernel's client identifier.
		{"ip=dhcp,0,node", strings.NewReplacer("0.11/", "0.33/", "name node11", "name -").Replace(dhcp11)},
	} {
		t.Run(tt.cmdline, func(t *testing.T) {
			t.Parallel()
			networktest.Isolated(t, func() {
				net := networktest.New(t)
				net.Server.DNSMasq("--dhcp-range=10.77.0.100,10.77.0.199,255.255.255.0,1h", "--enable-ra", "--dhcp-range=fd77::,ra-stateless",
					"--dhcp-host=52:54:00:77:00:01,10.77.0.11,node11", "--dhcp-host=52:54:00:77:00:02,10.77.0.12,node12",
					"--dhcp-host=id:00:6e:6f:64:65,10.77.0.33", "--dhcp-option=option:dns-server,10.77.0.53", "--dhcp-option=option:ntp-server,10.77.0.4")
				net.Plug("eth0", networktest.Cable{})
				net.Plug("eth1", networktest.Cable{})
				if got, err := carryOut(t, net, tt.cmdline); got != tt.want || err != nil {
					t.Errorf("%v\ngot  %s\nwant %s", err, got, tt.want)
				}
			})
		})
	}
}

// TestRoutesOfParameters gives routes beside those of a lease, for each NIC or
// one of them, and beside an address of IPv6 that the kernel made.
func TestRoutesOfParameters(t *testing.T) {
	t.Parallel()
	networktest.Isolated(t, func() {
		net := networktest.New(t)
		net.Plug("eth0", networktest.Cable{})
		net.Plug("eth1", networktest.Cable{})
		net.Server.DNSMasq("--dhcp-range=10.77.0.100,10.77.0.199,255.255.255.0,1h", "--enable-ra", "--dhcp-range=fd77::,ra-stateless")
		for _, tt := range []struct{ cmdline, family, want string }{
			{"ip=eth0:dhcp ip=eth1:dhcp bootdev=eth0 rd.route=10.88.0.0/16:10.77.0.9 rd.route=10.89.0.0/16:10.77.0.9:eth1 rd.route=10.90.0.0/16::eth0 rd.route=10.91.0.0/16:10.77.0.9:eth9", "-4",
				"10.88.0.0/16 via 10.77.0.9 dev eth0, 10.89.0.0/16 via 10.77.0.9 dev eth1, 10.90.0.0/16 dev eth0 scope link"},
			{"ip=eth0:auto6 rd.route=[fd88::/32]:[fd77::9] rd.route=10.88.0.0/16:10.77.0.9", "-6", "fd88::/32 via fd77::9 dev eth0"},
		} {
			if _, err := carryOut(t, net, tt.cmdline); err != nil {
				t.Errorf("%s: %v", tt.cmdline, err)
			}
			got := net.Run("ip " + tt.family + " route show proto boot | grep -v default | awk '{ print $1, $2, $3, $4, $5 }' | sort | paste -s -d , | sed 's/ *,/, /g;s/ *$//'")
			if got != tt.want {
				t.Errorf("%s: %q, want %q", tt.cmdline, got, tt.want)
			}
		}
	})
}

// carryOut brings the network up by some parameters and describes the result.
func carryOut(t *testing.T, net *networktest.Net, cmdline string) (string, error) {
	t.Helper()
	c, err := config.Parse(cmdline, "")
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	l, others, err := network.Up(ctx, Network(&c), network.Options{
		Sysfs: "/sys", Preferred: DefaultDevice, BootMAC: c.BootIF, CarrierTime: 10 * time.Second, LeaseTime: 15 * time.Second,
		Rescan: func() {}, Reach: func(context.Context, *network.Lease) error { return nil },
		Logf: t.Logf, WaitFor: func(string) {},
	})
	if err != nil {
		return "", err
	}
	name := l.Hostname
	if given := Hostname(&c); given != "" {
		name = given
	}
	or := func(s string) string {
		if s == "" {
			return "-"
		}
		return s
	}
	show := func(command string) string { return or(net.Run(command + " " + l.Device)) }
	family, only := "-4", ""
	if l.Addr.Addr().Is6() {
		family, only = "-6", "to "+l.Addr.Addr().String() // Beside what a router gave.
	}
	text := fmt.Sprintf("%s %s via %s dns %s ntp %s mtu %s mac %s name %s", l.Device,
		or(net.Run("ip -o "+family+" addr show scope global "+only+" dev "+l.Device+" | awk '{ print $4 }' | paste -s -d ' '")),
		or(net.Run("ip "+family+" route show default dev "+l.Device+" proto boot | awk '{ print $3 }' | paste -s -d ' '")),
		or(strings.Trim(fmt.Sprint(l.DNS), "[]")), or(strings.Trim(fmt.Sprint(l.NTP), "[]")),
		show(`f() { cat /sys/class/net/$1/mtu; }; f`), show(`f() { cat /sys/class/net/$1/address; }; f`), or(name))
	for _, o := range others {
		text += fmt.Sprintf(" and %s %s", o.Device, o.Addr)
	}
	return text, nil
}
