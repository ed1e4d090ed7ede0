package sidusnode

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/sidusboot/sidusboot/versions/layout"
)

// WatchVerb is the verb by which the resident process has this program watch the
// tree, once a minute.
const WatchVerb = "watch"

const (
	// watchLimit is how long the probes of a watch may take, checkLimit those of a
	// person who waits.
	watchLimit = 20 * time.Second
	checkLimit = 5 * time.Second
	// baseTime is how often a watch asks what is current, unless the node follows:
	// each time is a mount.
	baseTime = 10 * time.Minute
)

// watch probes once, heals a changed tree and writes what is known for others.
func watch(logf func(format string, args ...any)) error {
	n, err := known()
	if err != nil {
		return err
	}
	var probes []string
	plain := n.Version == ""
	if plain {
		probes = append(probes, probeStamp)
	} else if n.Base != "" && (n.follows() || n.currentAt == 0 || n.now-n.currentAt >= baseTime) {
		probes = append(probes, probeBase)
	}
	f, err := ask(watchLimit, append(probes, probeFill)...)
	if err != nil {
		return err
	}
	stale := n.heal.stale
	n.merge(f)
	n.heal.stale = stale // Not probed yet.
	if plain {
		if err := n.healTree(f.get("stamp"), logf); err != nil {
			return err
		}
	} else if err := n.followCurrent(logf); err != nil {
		n.fail(err)
	}
	return n.writeState()
}

// healTree does what is to be done about a plain tree at this moment.
func (n *node) healTree(stamp string, logf func(format string, args ...any)) error {
	before := n.heal
	act := n.heal.next(n.now, stamp, delay(n.Slot, n.Spread), attributes(n.layers))
	if before.stamp != "" && n.heal.stamp != before.stamp {
		logf("the tree was changed on its server (%s): this node looks up the file names again", layout.Stamp)
	}
	var probes []string
	if act.forget && n.Union != "aufs" { // aufs asks the tree each time.
		probes = append(probes, probeForget)
	}
	if act.names {
		probes = append(probes, probeNames)
	}
	if len(probes) == 0 {
		return nil
	}
	f, err := ask(watchLimit, probes...)
	if err != nil {
		return err
	}
	n.failures = append(n.failures, f.failures...)
	if f.silent != "" {
		n.found.silent = f.silent
	}
	if act.names && f.silent == "" {
		n.heal.stale = f.all("stale")
		if text := strings.Join(n.heal.stale, ", "); text != strings.Join(before.stale, ", ") {
			if text == "" {
				logf("no file of the tree that this node needs is stale any more")
			} else {
				logf("STALE: %s: replaced in the tree while a program had it open; restart what uses it, or reboot this node", text)
			}
		}
	}
	return nil
}

// writeState writes what is known.
func (n *node) writeState() error {
	return errors.Join(ReplaceFile(stateFile, n.state(), 0o644), ReplaceFile(jsonFile, n.view(judge(n)).json(), 0o644))
}

// ReplaceFile writes a file as a whole: whoever reads it finds all of the old text or all
// of the new one. It is for files in memory below /run: nothing is synced to a disk.
func ReplaceFile(name, text string, mode os.FileMode) error {
	temporary := name + ".new"
	if err := os.WriteFile(temporary, []byte(text), mode); err != nil {
		return err
	}
	return os.Rename(temporary, name)
}

// toKernel writes lines to the kernel's log.
func toKernel(format string, args ...any) {
	kmsg, err := os.OpenFile("/dev/kmsg", os.O_WRONLY, 0)
	if err != nil {
		return
	}
	defer kmsg.Close()
	const warning = 4 // include/linux/kern_levels.h
	_, _ = fmt.Fprintf(kmsg, "<%d>sidusboot: %s\n", warning, fmt.Sprintf(format, args...))
}
