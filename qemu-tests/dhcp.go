package qemutests

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/sidusboot/sidusboot/network/networktest"
)

// DHCPOptions describe the lab's DHCP and name server. Empty fields are not
// sent.
type DHCPOptions struct {
	// Hosts have fixed addresses.
	Hosts []DHCPHost
	// First and Last bound the range for everybody else. Both empty:
	// 10.77.0.100 to 10.77.0.199; First "none": hosts only.
	First, Last string
	// Router is option 3, DNS option 6 (default: the lab's own name server).
	Router, DNS string
	// Domain is option 15.
	Domain string
	// RootPath is option 17.
	RootPath string
	// NextServer is siaddr, the address of the boot server.
	NextServer string
	// MTU is option 26.
	MTU int
	// Lease is the lease time. Default one hour; dnsmasq's least is 2 minutes.
	Lease time.Duration
	// Names are looked up by the lab's name server, name to address.
	Names map[string]string
	// Extra are further arguments for dnsmasq, such as "--dhcp-option=42,10.77.0.1".
	Extra []string
}

// A DHCPHost is a reservation.
type DHCPHost struct {
	MAC, Addr, Name string
}

// StartDHCP runs dnsmasq as DHCP and name server on the bridge.
func (l *Lab) StartDHCP(ctx context.Context, opts DHCPOptions) (*Server, error) {
	name := l.name("leases")
	argv := append([]string{"dnsmasq", "--pid-file=" + filepath.Join(labDir, name+".pid"),
		"--dhcp-leasefile=" + filepath.Join(labDir, name)}, dnsmasqArgs(opts)...)
	return l.Start(ctx, Program{
		Name: "dhcp",
		Argv: argv,
		Ready: func(ctx context.Context) error {
			// The DHCP socket is there before the name server's log line, but a
			// pid file means that both are.
			_, err := os.Stat(l.Path(filepath.Join(labDir, name+".pid")))
			return err
		},
	})
}

// StartFakeDHCP runs a DHCP server that answers as a test wants.
func (l *Lab) StartFakeDHCP(answer func(n int, m *dhcpv4.DHCPv4) [][]byte) (*networktest.FakeDHCP, error) {
	var f *networktest.FakeDHCP
	err := l.ns.inside(func() (err error) {
		f, err = networktest.ServeDHCP(bridge, answer)
		return err
	})
	return f, err
}

// dnsmasqArgs are the arguments for dnsmasq, without the files.
func dnsmasqArgs(o DHCPOptions) []string {
	if o.First == "" && o.Last == "" {
		o.First, o.Last = "10.77.0.100", "10.77.0.199"
	}
	if o.Lease == 0 {
		o.Lease = time.Hour
	}
	if o.DNS == "" {
		o.DNS = ServerAddr
	}
	lease := fmt.Sprintf("%d", int(o.Lease.Seconds()))
	args := []string{
		"--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--log-facility=-", "--log-dhcp",
		"--interface=" + bridge, "--bind-interfaces", "--except-interface=lo",
		"--no-resolv", "--no-hosts", "--no-ping", "--dhcp-authoritative",
	}
	if o.First == "none" {
		args = append(args, "--dhcp-range=10.77.0.0,static,255.255.255.0,"+lease)
	} else {
		args = append(args, fmt.Sprintf("--dhcp-range=%s,%s,255.255.255.0,%s", o.First, o.Last, lease))
	}
	for _, h := range o.Hosts {
		fields := []string{h.MAC, h.Addr}
		if h.Name != "" {
			fields = append(fields, h.Name)
		}
		args = append(args, "--dhcp-host="+strings.Join(append(fields, lease), ","))
	}
	option := func(name, value string) {
		args = append(args, "--dhcp-option="+name+","+value)
	}
	if o.Router == "" {
		args = append(args, "--dhcp-option=option:router") // nothing, instead of ourselves
	} else {
		option("option:router", o.Router)
	}
	option("option:dns-server", o.DNS)
	if o.Domain != "" {
		args = append(args, "--domain="+o.Domain)
	}
	if o.RootPath != "" {
		option("option:root-path", o.RootPath)
	}
	if o.MTU != 0 {
		option("option:mtu", fmt.Sprint(o.MTU))
	}
	if o.NextServer != "" {
		args = append(args, "--dhcp-boot=,,"+o.NextServer)
	}
	for host, addr := range o.Names {
		args = append(args, fmt.Sprintf("--host-record=%s,%s", host, addr))
	}
	return append(args, o.Extra...)
}
