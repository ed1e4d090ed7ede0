package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sidusboot/sidusboot/bootlog"
	"github.com/sidusboot/sidusboot/config"
	"github.com/sidusboot/sidusboot/digest"
	"github.com/sidusboot/sidusboot/image"
	"github.com/sidusboot/sidusboot/iscsi"
	"github.com/sidusboot/sidusboot/resident"
	"github.com/sidusboot/sidusboot/rwlayer"
)

const iscsiPort = "3260"

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
		place = fmt.Sprintf("LUN %d of %s", n.lun.target.LUN, n.lun.target.Name)
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
		n.lun.mounted.Store(true)
	}
	n.report.RW = bootlog.RW{Kind: n.cfg.RW.Kind, Device: device, FileSystem: v.Type, UUID: v.UUID, Made: made}
	n.makeRoom(name)
	detail := fmt.Sprintf("%s, %s %s", device, v.Type, v.UUID)
	if made {
		detail += ", made just now"
	}
	return detail, nil
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
	// SCSI disks turn up by and by, behind the back of those who look now.
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
	names := resident.NewNames(n.resolver(n.lease))
	target.Resolve = names.LookUp
	mounted := new(atomic.Bool)
	target.Admit = func(u *iscsi.LogicalUnit) error {
		if mounted.Load() { // The target may have forgotten that.
			return rwlayer.Claim(u, key)
		}
		return rwlayer.CheckHolder(u, key, rwlayer.Key(n.cfg.RW.Takeover))
	}
	kernel, err := iscsi.Open("/")
	if err != nil {
		return "", err
	}
	n.waitFor("the iSCSI target " + target.Name)
	session, err := connect(ctx, kernel, target, n.log.Errorf)
	if err != nil {
		return "", errors.Join(err, kernel.Close())
	}
	n.lun = &lun{kernel: kernel, session: session, target: target, names: names, mounted: mounted, giveBack: func() error { return rwlayer.GiveBack(session, key) }, abandon: session.Abandon, state: session.State}
	n.tend(n.lun)
	n.report.ISCSI = &bootlog.ISCSI{Target: target.Name, Initiator: target.Initiator, LUN: target.LUN}
	for _, p := range target.Portals {
		n.report.ISCSI.Portals = append(n.report.ISCSI.Portals, p.String())
	}
	disk, err := session.Disk(ctx)
	if err != nil {
		return "", err
	}
	return disk.Path, nil
}

// A lun is the node's session with its target.
type lun struct {
	kernel  *iscsi.Kernel
	session *iscsi.Session
	target  iscsi.Target
	names   *resident.Names
	// mounted says that the node runs on the volume.
	mounted *atomic.Bool
	// giveBack takes back what this node has at its target.
	giveBack func() error
	// abandon ends the session with what is not written yet.
	abandon func() error
	// state is the session's.
	state func() (string, error)
	// untend ends what tend began.
	untend func()
}

// answers tells whether the target is there, as far as the kernel knows.
func (l *lun) answers() bool {
	state, err := l.state()
	return err != nil || state == iscsi.LoggedIn // Or there is no session any more.
}

// tend does the keeper's work until that is there: a connection that breaks
// while the volume is proven blank, formatted or checked is made again. Without
// that the kernel would hold the stage's reads and writes back for a day. What
// a target forgets meanwhile the keeper reserves again.
func (n *node) tend(l *lun) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	holder := &rwlayer.Holder{Session: l.session, GiveBack: l.giveBack, Logf: n.log.Errorf}
	k := &iscsi.Keeper{Session: l.session, Refused: holder.Refused, Logf: n.log.Errorf}
	go func() {
		defer n.recovered()
		defer close(done)
		switch err := k.Run(ctx); {
		case errors.Is(err, iscsi.ErrGone):
			n.log.Noticef("the session of the volume has ended")
		case err != nil:
			n.log.Errorf("%v", err)
		}
	}()
	l.untend = func() {
		cancel()
		<-done
	}
}

// detach ends the session after a failed attempt, and then gives back what it
// has taken: nothing can be written to the volume any more.
func (l *lun) detach() error {
	l.untend()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err := l.session.Logout(ctx)
	if err == nil { // The target answers.
		err = l.giveBack()
	}
	return errors.Join(err, l.kernel.Close())
}

const (
	firstLogin = 250 * time.Millisecond
	maxLogin   = 8 * time.Second
	// maxHangUps is how often in a row a target may hang up on a node without
	// credentials before that is believed to be its way to ask for some. One
	// that is just being restarted does it once or twice.
	maxHangUps = 5
)

// connect logs in. A target that is not there yet is waited for, one that refuses
// is not.
func connect(ctx context.Context, kernel *iscsi.Kernel, target iscsi.Target, logf func(string, ...any)) (*iscsi.Session, error) {
	said, hangUps := false, 0
	for wait := firstLogin; ; wait = min(2*wait, maxLogin) {
		session, err := kernel.Connect(ctx, target)
		if err == nil {
			return session, nil
		}
		var refused *iscsi.LoginError
		var broken *iscsi.KernelError
		if errors.As(err, &refused) && refused.Final() || errors.As(err, &broken) {
			return nil, err
		}
		if hangUps++; !errors.Is(err, iscsi.ErrNoCredentials) {
			hangUps = 0
		}
		if hangUps == maxHangUps {
			return nil, err
		}
		if !said {
			logf("waiting for the iSCSI target: %v", err)
			said = true
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(jitter(wait)):
		}
	}
}

// iscsiTarget is where the node's LUN is, by the words and the lease.
func (n *node) iscsiTarget(ctx context.Context) (iscsi.Target, error) {
	c := n.cfg.ISCSI
	facts := n.leaseFacts()
	expand := func(template, standard string) (string, error) {
		if template == "" {
			template = standard
		}
		return config.Expand(template, facts)
	}
	name, err := expand(c.Target, config.DefaultTarget)
	if err != nil {
		return iscsi.Target{}, fmt.Errorf("sidus.iscsi.target=: %w", err)
	}
	initiator, err := expand(c.Initiator, config.DefaultInitiator)
	if err != nil {
		return iscsi.Target{}, fmt.Errorf("sidus.iscsi.initiator=: %w", err)
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
		portals = []string{net.JoinHostPort(n.sources[0].Addr.String(), iscsiPort)}
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

// credentials are those of the words, and where these give none at all, those
// that the image's secrets file has for this node; it may have none.
func (n *node) credentials(initiator string) (config.Credentials, error) {
	if c := n.cfg.ISCSI.Credentials(); c != (config.Credentials{}) {
		if c.Password != "" || c.PasswordIn != "" {
			n.log.Errorf("the password of the node's volume is on the command line or in the image's configuration: every user of the node can read /proc/cmdline, and everybody on the network what the boot server sends")
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
