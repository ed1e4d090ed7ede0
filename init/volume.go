package main

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/sidusboot/sidusboot/bootlog"
	"github.com/sidusboot/sidusboot/config"
	"github.com/sidusboot/sidusboot/digest"
	"github.com/sidusboot/sidusboot/image"
	"github.com/sidusboot/sidusboot/iscsi"
	"github.com/sidusboot/sidusboot/resident"
	"github.com/sidusboot/sidusboot/rwlayer"
)

// iscsiModules drive a LUN. The file system's module is loaded when it is
// known.
var iscsiModules = []string{"sd_mod", "iscsi_tcp"}

// chapAlgorithms are those of sidus.iscsi.chap=.
var chapAlgorithms = map[string]iscsi.Algorithm{
	"md5": iscsi.MD5, "sha1": iscsi.SHA1, "sha256": iscsi.SHA256, "sha3-256": iscsi.SHA3256,
}

// mountVolume makes /rw of the node's own LUN, or of a local device.
func (n *node) mountVolume() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), n.cfg.Timeout)
	defer cancel()
	device, key := "", rwlayer.Key(0)
	var err error
	if n.cfg.RW.Kind == "iscsi" {
		key = n.reservationKey()
		device, err = n.attachLUN(ctx, key)
	} else {
		device, err = n.findDisk(ctx)
	}
	if err != nil {
		return "", err
	}
	name, place := device, ""
	if n.lun != nil {
		place = fmt.Sprintf("LUN %d of %s", n.lun.Target.LUN, n.lun.Target.Name)
		name += " (" + place + ")"
	}
	adopt, err := n.adopted()
	if err != nil {
		return "", err
	}
	n.meter.UseDisk(device)
	v, made, err := rwlayer.Mount(n.system, device, rwDir, rwlayer.VolumeOptions{
		Format: n.cfg.RW.MkFS == "blank", Reserve: key, Takeover: rwlayer.Key(n.cfg.RW.Takeover),
		Label: "sidusboot", Adopt: adopt, Place: place, InspectDir: lookDir, Name: name,
		Logf: n.log.Errorf, Waiting: n.waitFor,
	})
	if err != nil {
		return "", err
	}
	if n.lun != nil {
		n.lun.SetMounted()
	}
	n.report.RW = bootlog.RW{Kind: n.cfg.RW.Kind, Device: device, FileSystem: v.Type, UUID: v.UUID, Made: made}
	n.makeRoom(name)
	detail := fmt.Sprintf("%s, %s %s", device, v.Type, v.UUID)
	if made {
		detail += ", just made"
	}
	return detail, nil
}

// makeRoom frees the spare of a volume that is full, and reports how full it is:
// files can be deleted only on a node that has booted.
func (n *node) makeRoom(name string) {
	u, spent, err := rwlayer.FreeSpare(rwDir)
	if err != nil {
		n.note("rw: " + err.Error())
	}
	n.report.RW.Usage, n.report.RW.Full = u.String(), spent || u.Full()
	if n.report.RW.Full {
		n.log.Errorf("rw: THE VOLUME %s IS FULL: %s: delete files that are not needed, or make the volume larger; the node boots, but what it cannot write fails", name, u)
	}
}

// adopted are the UUID or the label of the file system that the operator has
// named: that one is the node's own, whatever is in it. The name of a device,
// or of a partition, says nothing of what lies there.
func (n *node) adopted() ([]string, error) {
	words := map[string]string{"sidus.rw.adopt=": n.cfg.RW.Adopt}
	if key, value, _ := strings.Cut(n.cfg.RW.Device, "="); n.cfg.RW.Kind == "device" && (key == "LABEL" || key == "UUID") {
		words["sidus.rw="] = value
	}
	var names []string
	for word, template := range words {
		name, err := config.Expand(template, n.leaseFacts())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", word, err)
		}
		names = append(names, name)
	}
	return names, nil
}

// findDisk waits for the local device that sidus.rw= names.
func (n *node) findDisk(ctx context.Context) (string, error) {
	spec, err := config.Expand(n.cfg.RW.Device, n.leaseFacts())
	if err != nil {
		return "", fmt.Errorf("sidus.rw=: %w", err)
	}
	n.waitFor("the device " + spec)
	n.loadDisks(n.system.loader.USBHosts())
	return rwlayer.Find(ctx, spec, "/sys", "/dev", func() { n.loadDisks(nil) })
}

// loadDisks loads the drivers of the disks that there are. What is missing is
// said by who does not find his disk.
func (n *node) loadDisks(except map[string]bool) {
	// SCSI disks appear one after another, also after this first look.
	if n.system.loader.Has("sd_mod") {
		if err := n.system.loader.Load("sd_mod"); err != nil {
			n.log.Errorf("disks: %v", err)
		}
	}
	if _, err := n.system.loader.LoadDisks("/sys", except); err != nil {
		n.log.Errorf("disks: %v", err)
	}
}

// attachLUN logs in to the node's target and returns the LUN's block device. A
// target that is not up yet is waited for; one that refuses the login is not.
func (n *node) attachLUN(ctx context.Context, key rwlayer.Key) (string, error) {
	if err := n.system.loader.Load(iscsiModules...); err != nil {
		return "", err
	}
	target, err := n.iscsiTarget(ctx)
	if err != nil {
		return "", err
	}
	n.names = resident.NewPortalNames(*n.lease.Resolver())
	target.Resolve = n.names.LookUp
	n.waitFor("the iSCSI target " + target.Name)
	lun, err := rwlayer.OpenLUN(ctx, target, rwlayer.LUNOptions{
		Key: key, Takeover: rwlayer.Key(n.cfg.RW.Takeover), Background: n.background, Logf: n.log.Errorf,
	})
	if err != nil {
		return "", err
	}
	n.lun = lun
	n.report.ISCSI = &bootlog.ISCSI{Target: target.Name, Initiator: target.Initiator, LUN: target.LUN}
	for _, p := range target.Portals {
		n.report.ISCSI.Portals = append(n.report.ISCSI.Portals, p.String())
	}
	return lun.Disk(ctx)
}

// iscsiTarget is where the node's LUN is, by the words and the lease.
func (n *node) iscsiTarget(ctx context.Context) (iscsi.Target, error) {
	c := n.cfg.ISCSI
	name, err := config.Expand(cmp.Or(c.Target, config.DefaultTarget), n.leaseFacts())
	if err != nil {
		return iscsi.Target{}, fmt.Errorf("sidus.iscsi.target=: %w", err)
	}
	initiator, err := n.initiator()
	if err != nil {
		return iscsi.Target{}, err
	}
	secrets, err := n.credentials(initiator)
	if err != nil {
		return iscsi.Target{}, err
	}
	t := iscsi.Target{
		Timeouts: resident.Timeouts(),
		Name:     name, Initiator: initiator, LUN: uint64(c.LUN), ISID: n.isid(),
		User: secrets.User, Password: iscsi.Secret(secrets.Password),
		UserIn: secrets.UserIn, PasswordIn: iscsi.Secret(secrets.PasswordIn),
	}
	for _, name := range c.CHAP {
		t.CHAP = append(t.CHAP, chapAlgorithms[name])
	}
	portals := c.Portals
	if len(portals) == 0 {
		portals = []string{iscsi.Portal{Host: n.sources[0].Addr.String(), Port: iscsi.DefaultPort}.String()}
	}
	for _, portal := range portals {
		host, port, err := net.SplitHostPort(portal)
		if err != nil {
			return t, fmt.Errorf("sidus.iscsi.portal=%s: %w", portal, err)
		}
		addr, err := n.address(ctx, host)
		if err != nil {
			return t, err
		}
		p, err := iscsi.ParsePortal(net.JoinHostPort(addr.String(), port))
		if err != nil {
			return t, fmt.Errorf("sidus.iscsi.portal=%s: %w", portal, err)
		}
		t.Portals = append(t.Portals, p)
	}
	return t, nil
}

// initiator is the node's iSCSI name.
func (n *node) initiator() (string, error) {
	name, err := config.Expand(cmp.Or(n.cfg.ISCSI.Initiator, config.DefaultInitiator), n.leaseFacts())
	if err != nil {
		return "", fmt.Errorf("sidus.iscsi.initiator=: %w", err)
	}
	return name, nil
}

// credentials are those of the words, and where these give none at all, those
// that the image's secrets file has for this node; it may have none.
func (n *node) credentials(initiator string) (config.Credentials, error) {
	if c := n.cfg.ISCSI.Credentials(); c != (config.Credentials{}) {
		if c.Password != "" || c.PasswordIn != "" {
			n.log.Errorf("the password of the node's volume is on the command line or in the image's configuration: users of the node can read it in /proc/cmdline, and everybody on the network can fetch it from the boot server")
		}
		return c, nil
	}
	text, err := os.ReadFile(image.Secrets)
	if errors.Is(err, os.ErrNotExist) {
		return config.Credentials{}, nil
	}
	if err != nil {
		return config.Credentials{}, err
	}
	secrets, err := config.ParseSecrets(string(text))
	if err != nil {
		return config.Credentials{}, fmt.Errorf("%s: %w", image.Secrets, err)
	}
	c, _ := secrets.For(n.leaseFacts(), initiator)
	return c, nil
}

// isid is iscsid's own where the node's name is its machine's, so that iscsid
// can take the session over without a change of its name. Otherwise two nodes
// that were given one address would end each other's session: then it is made
// of the machine.
func (n *node) isid() iscsi.ISID {
	if t := n.cfg.ISCSI.Initiator; t == "" || strings.Contains(t, "%m") || strings.Contains(t, "%u") {
		return iscsi.IscsidISID
	}
	return iscsi.NodeISID(n.machine())
}

// reservationKey is the node's own key: the same on every boot, another one on
// every machine, whatever addresses they were given.
func (n *node) reservationKey() rwlayer.Key {
	sum := digest.SHA256([]byte(n.machine()))
	return rwlayer.Key(binary.BigEndian.Uint64(sum) | 1) // Zero means no key.
}

// machine names this machine and no other.
func (n *node) machine() string {
	uuid, _ := os.ReadFile("/sys/class/dmi/id/product_uuid")
	return "sidusboot " + strings.TrimSpace(string(uuid)) + " " + n.lease.MAC.String()
}
