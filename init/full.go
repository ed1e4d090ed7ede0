package main

import (
	"errors"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/rwlayer"
)

// makeRoom gives a volume that is full what is kept of it for that, and says
// how full it is: only on a node that is up can anybody delete something.
func (n *node) makeRoom(name string) {
	u, spent, err := rwlayer.SpendSpare(rwDir)
	if err != nil {
		n.note("rw: " + err.Error())
	}
	n.report.RW.Usage, n.report.RW.Full = u.String(), spent || u.Full()
	if n.report.RW.Full {
		n.log.errorf("rw: THE VOLUME %s IS FULL: %s: delete what nobody needs, or give it more room; the node boots, but what it cannot write fails", name, u)
	}
}

// testKept is testUnion for a layer that is kept. A full one can be read, and
// what is in it deleted, which is all that helps, unless the operator prefers a
// tmpfs to it.
func (n *node) testKept(dir string) error {
	err := testUnion(dir)
	if n.cfg.RW.Fallback == "tmpfs" {
		return err
	}
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		n.log.errorf("union: nothing can be written: %v", err)
		return nil
	}
	return err
}
