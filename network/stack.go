package network

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/sidusboot/sidusboot/network/rtnetlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// A Rename gives the NIC with a MAC a name.
type Rename struct {
	Name string
	MAC  net.HardwareAddr
}

// A Bond is several NICs that are used as one. Options are as the kernel's
// bonding driver spells them (Documentation/networking/bonding.rst), each
// NAME=VALUE; without miimon or arp_interval links are looked at every 100 ms,
// since the driver's own default is never.
type Bond struct {
	Name    string
	Slaves  []string
	Options []string
	MTU     int
}

// A VLAN is a device for the packets of one VLAN of another device (IEEE
// 802.1Q).
type VLAN struct {
	Name, Parent string
	ID           int
}

// temporary begins the names of devices while two of them swap names.
const temporary = "sidusboot"

// rename gives the NICs that are there the names of the plan. A NIC that has
// another one's name gets that one's old name.
func rename(renames []Rename, all []*rtnetlink.Link) error {
	for i, r := range renames {
		l := findLink(all, func(a *rtnetlink.Link) bool { return bytes.Equal(permanentAddr(a), r.MAC) })
		if l == nil || l.Name == r.Name {
			continue
		}
		old := l.Name
		if other := findLink(all, func(a *rtnetlink.Link) bool { return a.Name == r.Name }); other != nil {
			aside := temporary + strconv.Itoa(i)
			if err := setName(l, aside); err != nil {
				return err
			}
			if err := setName(other, old); err != nil {
				return err
			}
		}
		if err := setName(l, r.Name); err != nil {
			return err
		}
	}
	return nil
}

// permanentAddr is the card's own address, whatever it was given meanwhile.
func permanentAddr(a *rtnetlink.Link) net.HardwareAddr {
	if len(a.PermHWAddr) == len(a.HardwareAddr) && len(a.PermHWAddr) > 0 {
		return a.PermHWAddr
	}
	return a.HardwareAddr
}

func findLink(all []*rtnetlink.Link, fits func(*rtnetlink.Link) bool) *rtnetlink.Link {
	for _, l := range all {
		if fits(l) {
			return l
		}
	}
	return nil
}

func setName(l *rtnetlink.Link, name string) error {
	if err := rtnetlink.SetName(l, name); err != nil {
		return fmt.Errorf("network: rename %s (%s) to %s: %w", l.Name, l.HardwareAddr, name, err)
	}
	l.Name = name
	return nil
}

// build makes the bond if none is there, and adds the NICs that are there to
// it. It returns the NICs that are missing.
func (b *Bond) build(sysfs string, all []*rtnetlink.Link) (missing []string, err error) {
	dir := filepath.Join(sysfs, "class/net", b.Name, "bonding")
	if findLink(all, func(a *rtnetlink.Link) bool { return a.Name == b.Name }) == nil {
		if !slices.ContainsFunc(all, func(l *rtnetlink.Link) bool { return slices.Contains(b.Slaves, l.Name) }) {
			return b.Slaves, nil
		}
		if err := b.create(sysfs, dir); err != nil {
			return nil, err
		}
	}
	for _, name := range b.Slaves {
		l := findLink(all, func(a *rtnetlink.Link) bool { return a.Name == name })
		if l == nil {
			missing = append(missing, name)
			continue
		}
		if l.MasterIndex != 0 {
			continue
		}
		// The driver takes only what is down (bond_enslave).
		if l.IsUp() {
			if err := rtnetlink.SetDown(l); err != nil {
				return nil, fmt.Errorf("network: set %s down for %s: %w", name, b.Name, err)
			}
		}
		if err := writeSysfs(filepath.Join(dir, "slaves"), "+"+name); err != nil {
			return nil, fmt.Errorf("network: add %s to %s: %w", name, b.Name, err)
		}
	}
	return missing, nil
}

func (b *Bond) create(sysfs, dir string) error {
	err := writeSysfs(filepath.Join(sysfs, "class/net/bonding_masters"), "+"+b.Name)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("network: make %s: the module bonding is not loaded: %w", b.Name, err)
	}
	if err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("network: make %s: %w", b.Name, err)
	}
	if err := b.configure(dir); err != nil {
		// The next attempt must not take an incomplete bond for a complete one.
		return errors.Join(err, writeSysfs(filepath.Join(sysfs, "class/net/bonding_masters"), "-"+b.Name))
	}
	return nil
}

// configure sets the options of a bond that has no slaves yet.
func (b *Bond) configure(dir string) error {
	options := slices.Clone(b.Options)
	if !slices.ContainsFunc(options, func(o string) bool { return strings.HasPrefix(o, "miimon=") || strings.HasPrefix(o, "arp_interval=") }) {
		options = append(options, "miimon=100")
	}
	// The mode decides what else there is; delays want miimon (bond_options.c).
	for _, o := range inOptionOrder(options) {
		name, value, _ := strings.Cut(o, "=")
		values := []string{value}
		if name == "arp_ip_target" {
			// A list, added one by one.
			values = strings.Split("+"+strings.ReplaceAll(value, ";", ";+"), ";")
		}
		for _, v := range values {
			if err := writeSysfs(filepath.Join(dir, filepath.Base(name)), v); err != nil {
				return fmt.Errorf("network: bond=%s: option %s: %w", b.Name, o, err)
			}
		}
	}
	if b.MTU == 0 {
		return nil
	}
	l, err := rtnetlink.ByName(b.Name)
	if err == nil {
		err = rtnetlink.SetMTU(l, b.MTU)
	}
	if err != nil {
		return fmt.Errorf("network: bond=%s: MTU %d: %w", b.Name, b.MTU, err)
	}
	return nil
}

// inOptionOrder has mode and miimon first.
func inOptionOrder(options []string) (ordered []string) {
	for _, first := range []string{"mode=", "miimon="} {
		for _, o := range options {
			if strings.HasPrefix(o, first) {
				ordered = append(ordered, o)
			}
		}
	}
	for _, o := range options {
		if !slices.Contains(ordered, o) {
			ordered = append(ordered, o)
		}
	}
	return ordered
}

func writeSysfs(path, text string) error {
	return os.WriteFile(path, []byte(text+"\n"), 0)
}

// build makes the VLAN's device on its parent if that is there. The message is
// written out here: package netlink's LinkAdd knows fifty kinds of link, at
// the price of 60 kB.
func (v *VLAN) build(all []*rtnetlink.Link) (missing bool, err error) {
	if l := findLink(all, func(a *rtnetlink.Link) bool { return a.Name == v.Name }); l != nil {
		if l.Kind != "vlan" {
			return false, fmt.Errorf("network: vlan=%s:%s: there is already a device %s: give the VLAN another name", v.Name, v.Parent, v.Name)
		}
		return false, nil
	}
	parent := findLink(all, func(a *rtnetlink.Link) bool { return a.Name == v.Parent })
	if parent == nil {
		return true, nil
	}
	// A VLAN has no carrier while its parent is down.
	if err := setUp(parent); err != nil {
		return false, err
	}
	req := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK)
	req.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	req.AddData(nl.NewRtAttr(unix.IFLA_LINK, nl.Uint32Attr(uint32(parent.Index))))
	req.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(v.Name)))
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("vlan"))
	info.AddRtAttr(nl.IFLA_INFO_DATA, nil).AddRtAttr(nl.IFLA_VLAN_ID, nl.Uint16Attr(uint16(v.ID)))
	req.AddData(info)
	_, err = req.Execute(unix.NETLINK_ROUTE, 0)
	if errors.Is(err, unix.EOPNOTSUPP) {
		err = fmt.Errorf("the module 8021q is not loaded: %w", err)
	}
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return false, fmt.Errorf("network: make %s, VLAN %d of %s: %w", v.Name, v.ID, v.Parent, err)
	}
	return false, nil
}
