package sidusnode

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/clock"
	"github.com/sidusboot/sidusboot/mounts"
	"github.com/sidusboot/sidusboot/network"
	"github.com/sidusboot/sidusboot/versions/layout"
)

// Files beside those that people read.
const (
	// FactsFile is written by /init.
	FactsFile = Dir + "/node"
	// stateFile is what the last watch wrote for the next one, jsonFile for others.
	stateFile = Dir + "/state"
	jsonFile  = Dir + "/state.json"
	// LeasesFile is written by the keeper: the leases that it renews, a line each.
	LeasesFile = "/run/initramfs/leases"
	// UpdateFIFO is the keeper's: it is to wait for a soft-reboot.
	UpdateFIFO = "/run/initramfs/update"
)

// A lease is one that the keeper renews.
type lease struct {
	device, addr, server string
	// length is of all of it, age since it was renewed, rebind when every server
	// is asked.
	length, age, rebind time.Duration
}

// state is whether the lease is renewed in time.
func (l lease) state() string {
	switch {
	case l.age >= l.length:
		return "expired"
	case l.age >= l.rebind:
		return "not renewed"
	}
	return "bound"
}

// parseLeases reads the keeper's file.
func parseLeases(text string, now time.Duration) (all []lease, err error) {
	for l := range strings.Lines(text) {
		t, err := network.ParseLeaseState(strings.TrimSuffix(l, "\n"))
		if err != nil {
			return nil, err
		}
		one := lease{device: t.Device, addr: t.Addr.String(), length: t.Time, age: now - t.Since, rebind: t.T2}
		if t.Server.IsValid() {
			one.server = t.Server.String()
		}
		all = append(all, one)
	}
	return all, nil
}

// A node is what is known of this machine at one moment.
type node struct {
	Facts
	kernel string
	// booted is the version of the boot; Version is that which runs after updates.
	booted string
	// now is the time since the machine started.
	now    time.Duration
	leases []lease
	// session is the state of the iSCSI session as the kernel calls it; empty
	// where there is none to be.
	session string
	// layers are the mounts of which the root is made.
	layers []mounts.Point
	found  finding
	heal   heal
	follow follow
	// current is the base's current version, looked at when.
	current   string
	currentAt time.Duration
	// failures are what could not be found out.
	failures []string
}

// errNoNode says that this is not a node of sidusboot's, or one of an older image.
var errNoNode = errors.New(FactsFile + " is not there: this machine was not booted by an image of this version of sidusboot")

// known is what can be told without asking a server or a disk anything.
func known() (*node, error) {
	text, err := os.ReadFile(FactsFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNoNode
	}
	if err != nil {
		return nil, err
	}
	n := &node{now: clock.Uptime()}
	if n.Facts, err = ParseFacts(string(text)); err != nil {
		return nil, err
	}
	var uts unix.Utsname
	if err := unix.Uname(&uts); err == nil {
		n.kernel = unix.ByteSliceToString(uts.Release[:])
	}
	n.readState()
	n.readLeases()
	if n.Session != "" {
		n.session = sessionState("/sys", n.Session)
	}
	all, err := mounts.Read("/proc/self/mountinfo")
	if err != nil {
		n.fail(err)
	}
	n.layers = findLayers(all)
	n.seeVersion()
	return n, nil
}

// seeVersion sees which version runs by what is mounted: an update may have changed
// it since the boot.
func (n *node) seeVersion() {
	n.booted = n.Version
	source := mounts.Unescape(n.layers[slices.Index(layerDirs, roDir)].Source)
	id, ok := strings.CutPrefix(source, n.Base+"/"+layout.Dir+"/")
	if n.Base != "" && ok && layout.CheckID(id) == nil {
		n.Version, n.Source = id, source
	}
}

func (n *node) fail(err error) { n.failures = append(n.failures, err.Error()) }

func (n *node) readState() {
	text, err := os.ReadFile(stateFile)
	if errors.Is(err, fs.ErrNotExist) {
		return // No watch has run yet.
	}
	r, parseErr := parseRecord(string(text))
	if err := errors.Join(err, parseErr); err != nil {
		n.fail(err)
		return
	}
	n.heal, n.follow = parseHeal(r), parseFollow(r)
	n.current, n.currentAt = r.get("current"), time.Duration(r.number("current_at"))
}

func (n *node) readLeases() {
	text, err := os.ReadFile(LeasesFile)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err == nil {
		n.leases, err = parseLeases(string(text), n.now)
	}
	if err != nil {
		n.fail(err)
	}
}

// sessionState is what the kernel says of a session
// (drivers/scsi/scsi_transport_iscsi.c, iscsi_session_state_names).
func sessionState(sysfs, session string) string {
	text, err := os.ReadFile(filepath.Join(sysfs, "class/iscsi_session", session, "state"))
	if err != nil {
		return "gone"
	}
	return strings.TrimSpace(string(text))
}

// loggedIn is the state of a session that is well.
const loggedIn = "LOGGED_IN"

// layerDirs are where the union and its layers are mounted.
var layerDirs = []string{"/", roDir, rwDir}

// findLayers finds them among all mounts. Of several on one directory the last one
// counts.
func findLayers(all []mounts.Point) []mounts.Point {
	layers := make([]mounts.Point, len(layerDirs))
	for _, m := range all {
		if i := slices.Index(layerDirs, m.Dir); i >= 0 {
			layers[i] = m
		}
	}
	return layers
}

// attributes is how long the client keeps attributes of the tree (nfs(5), acregmax
// and acdirmax).
func attributes(layers []mounts.Point) time.Duration {
	longest := time.Minute
	for _, l := range layers {
		if l.Dir != roDir {
			continue
		}
		for o := range strings.SplitSeq(l.Options, ",") {
			key, value, _ := strings.Cut(o, "=")
			if seconds, err := strconv.Atoi(value); err == nil && (key == "acregmax" || key == "acdirmax") {
				longest = max(longest, time.Duration(seconds)*time.Second)
			}
		}
	}
	return longest
}

// probesFor are the probes that tell how a node is; base is whether one at the base
// is wanted, too.
func (n *node) probesFor(base bool) []string {
	probes := []string{probeNames}
	if n.Version == "" {
		probes = append(probes, probeStamp)
	} else if base && n.Base != "" {
		probes = append(probes, probeBase)
	}
	// A volume may be silent while the tree is well, and the other way round:
	// what comes after a probe that hangs is not asked.
	return append(probes, probeFill)
}

// merge adds what the probes found.
func (n *node) merge(f finding) {
	n.found = f
	n.heal.stale = f.all("stale")
	if id := f.get("current"); id != "" {
		n.current, n.currentAt = id, n.now
	}
	n.failures = append(n.failures, f.failures...)
}
