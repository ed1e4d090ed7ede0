// Command site follows docs/site.md: from nothing to two nodes that boot from the
// network, one with a tmpfs, one with a volume of its own. It prints what it does.
//
//	make site
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	qemutests "github.com/sidusboot/sidusboot/qemu-tests"
)

func main() { qemutests.RunCommand("site", run) }

func run(ctx context.Context) error {
	suite := flag.String("suite", "bookworm", "Debian `suite` of the tree")
	flag.Parse()
	if os.Geteuid() != 0 {
		return errors.New("network namespaces, mmdebstrap and NFS need root: sudo make site")
	}
	start := time.Now()
	say := func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, "site: [%5.1f s] %s\n", time.Since(start).Seconds(), fmt.Sprintf(format, args...))
	}
	lab, err := qemutests.Open(ctx, qemutests.LabOptions{})
	if err != nil {
		return err
	}
	defer lab.Close()
	ctx, cancel := context.WithTimeout(ctx, time.Hour)
	defer cancel()
	if err := qemutests.RunSite(ctx, lab, *suite, say); err != nil {
		return err
	}
	say("both nodes came up, and the second one kept its file")
	return nil
}
