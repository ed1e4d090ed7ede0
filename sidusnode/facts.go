package sidusnode

import (
	"fmt"
	"strconv"
	"time"
)

// Facts are what /init has chosen for this boot, as far as this program needs
// them. No secret is among them: every user may read them.
type Facts struct {
	// Product is sidusboot's version.
	Product string
	// Source is the mounted tree, SERVER:PATH, and NFS the version by which it
	// came.
	Source, NFS string
	// Version is the ID of the tree's version; empty for a plain tree.
	Version string
	// Pinned says that sidus.version= named it.
	Pinned bool
	// Base is SERVER:PATH of the base that the version is in, and Data how it is
	// mounted to see what is current.
	Base, Data string
	// Union is the kind of union, RW what /rw is: tmpfs, iscsi or device.
	Union, RW string
	// Device is the volume's, Target the name of its iSCSI target, and Session
	// the session's in /sys/class/iscsi_session.
	Device, Target, Session string
	// Follow is what the node does about a version that becomes current: nothing
	// unless it is "idle" or "now".
	Follow string
	// Slot is a number of this node's own, by which the nodes are spread over time.
	Slot uint32
	// Spread is over what time; 0 where nobody said.
	Spread time.Duration
}

// String is the Facts as ParseFacts reads them.
func (f Facts) String() string {
	var r record
	for key, p := range f.texts() {
		r.add(textKeys[key], *p)
	}
	r.add("pinned", strconv.FormatBool(f.Pinned))
	r.add("slot", strconv.FormatUint(uint64(f.Slot), 10))
	r.add("spread", strconv.FormatInt(int64(f.Spread), 10))
	return r.String()
}

var textKeys = [...]string{"product", "source", "nfs", "version", "base", "data", "union", "rw", "device", "target", "session", "follow"}

func (f *Facts) texts() [len(textKeys)]*string {
	return [...]*string{&f.Product, &f.Source, &f.NFS, &f.Version, &f.Base, &f.Data, &f.Union, &f.RW, &f.Device, &f.Target, &f.Session, &f.Follow}
}

// ParseFacts reads what String wrote.
func ParseFacts(text string) (f Facts, err error) {
	r, err := parseRecord(text)
	if err != nil {
		return f, fmt.Errorf("sidusnode: the facts of this boot: %w", err)
	}
	for i, p := range f.texts() {
		*p = r.get(textKeys[i])
	}
	f.Pinned = r.get("pinned") == "true"
	f.Slot = uint32(r.number("slot"))
	f.Spread = time.Duration(r.number("spread"))
	return f, nil
}
