package managers

import (
	"strconv"
	"strings"
)

// networkd makes systemd-networkd hold the NIC's configuration as its own: it
// is "configured", counts for network-online.target, and stays as it is when
// networkd stops, starts, reloads, or when the cable is pulled. The first file
// name that matches a NIC wins (systemd.network(5)), wherever it lies, and a
// dash sorts before letters and digits, so that the tree's own files are for
// the other NICs.
//
// Without it networkd takes away what it finds on a NIC unless / is a network
// file system, which a union is not (systemd issue 21967).
func (a Advice) networkd() []File {
	const name = "/run/systemd/network/00--sidusboot"
	var files []File
	for _, n := range a.NICs {
		files = append(files, File{Path: name + "-" + n.Device + ".network", Mode: 0o644, Text: n.network()})
	}
	if len(a.Alone) > 0 {
		files = append(files, File{Path: name + ".network", Mode: 0o644, Text: written +
			"[Match]\nName=" + strings.Join(a.Alone, " ") + "\n\n[Link]\nUnmanaged=yes\n"})
	}
	return files
}

// behindRouter is the metric of an IPv6 route. A router's own has 1024; with the
// same one for both networkd now and then takes away either when it is
// restarted (seen with 252).
const behindRouter = 1025

func (n NIC) network() string {
	var b strings.Builder
	b.WriteString(written)
	// The name too, as a VLAN or a bond has the same address as what is below.
	b.WriteString("[Match]\nMACAddress=" + n.MAC.String() + "\nName=" + n.Device + "\n\n")
	b.WriteString("[Network]\nDHCP=no\nKeepConfiguration=yes\nConfigureWithoutCarrier=yes\nIgnoreCarrierLoss=yes\n")
	for _, a := range n.DNS {
		b.WriteString("DNS=" + a.String() + "\n")
	}
	if domains := n.domains(); len(domains) > 0 {
		b.WriteString("Domains=" + strings.Join(domains, " ") + "\n")
	}
	// Routers may give the NIC more addresses, as they do without networkd.
	b.WriteString("\n[IPv6AcceptRA]\nDHCPv6Client=no\n")
	for _, a := range n.Addrs {
		b.WriteString("\n[Address]\nAddress=" + a.String() + "\n")
		if n.Broadcast.IsValid() && a.Addr().Is4() {
			b.WriteString("Broadcast=" + n.Broadcast.String() + "\n")
		}
	}
	for _, r := range n.Routes {
		// The protocol that /init gave its routes: these are the same ones.
		b.WriteString("\n[Route]\nDestination=" + r.Dst.String() + "\nProtocol=boot\n")
		metric := n.Metric
		if r.Dst.Addr().Is6() && metric == 0 {
			metric = behindRouter
		}
		if metric > 0 {
			b.WriteString("Metric=" + strconv.Itoa(metric) + "\n")
		}
		switch {
		case !r.Gateway.IsValid():
			b.WriteString("Scope=link\n")
		case n.onLink(r.Gateway):
			b.WriteString("Gateway=" + r.Gateway.String() + "\n")
		default:
			b.WriteString("Gateway=" + r.Gateway.String() + "\nGatewayOnLink=yes\n")
		}
	}
	return b.String()
}

// KeepNames keeps udev of the tree from renaming the devices: kernels before 6.3
// refuse that while a device is up, newer ones do it, and then /run/net-eth0.conf
// and what the administrator wrote for eth0 name a device that is not there.
func (a Advice) KeepNames() File {
	return File{Path: "/run/systemd/network/00--sidusboot.link", Mode: 0o644, Text: "[Match]\nOriginalName=" + strings.Join(a.Devices(), " ") + "\n\n" +
		"[Link]\nNamePolicy=keep\nAlternativeNamesPolicy=database onboard slot path\nMACAddressPolicy=none\n"}
}
