// Package sidusnode is the program of that name on a running node: what it was
// booted from and how it is, for people and for monitoring, and what the resident
// process has done about a tree that changes. /init is the same program; it
// leaves itself at /run/sidusboot/sidusnode.
//
// Whatever may hang, the tree, its server, a volume, is asked by a process of its
// own that is given a time. What is decided of the answers are pure functions.
package sidusnode

import (
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/sidusboot/sidusboot/panics"
)

const usage = `Usage: sidusnode COMMAND

Tells what this node was booted from and how it is.

  status [--json]  version, uptime, lease, LUN, layers, how full /rw is;
                   --json: as /run/sidusboot/state.json, but of this moment
  check            one line for each finding; the exit status says the worst:
                     0  the node runs what the server has
                     1  another version is current: sidusnode update changes to it
                     2  files of the tree are stale
                     3  the lease is not renewed, or the LUN or a server fails
  update [--soft|--kexec|--reboot] [--to ID]
                   change to the current version, or to version ID, in the first
                   of these ways that is possible, and print which and why. If
                   the way that was requested is not possible, nothing changes.
                     soft-reboot  restarts all but the kernel; needs systemd 254 or
                                  later, a tmpfs as /rw, and the same kernel
                     kexec        starts the version's /boot/vmlinuz-RELEASE with
                                  /boot/initrd-sidus-RELEASE, without the firmware
                     reboot       in all other cases
                   exit status 0: it has begun, or there is nothing to do
  --help, --version

Servers and disks get 5 seconds to answer; no answer is status 3.
Run it as root. See docs/updates.md and docs/operations.md.
`

// Main is the program. args are its arguments without its name.
func Main(args []string, version string) (status int) {
	status = statusUsage
	err := panics.Call(func() (err error) {
		status, err = run(os.Stdout, args, version)
		return err
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "sidusnode:", err)
	}
	return status
}

func run(w io.Writer, args []string, version string) (int, error) {
	if len(args) == 0 || slices.Contains(args, "--help") || slices.Contains(args, "-h") {
		status := 0
		if len(args) == 0 {
			status = statusUsage
		}
		_, err := io.WriteString(w, usage)
		return status, err
	}
	verb, rest := args[0], args[1:]
	switch {
	case verb == "--version":
		_, err := fmt.Fprintln(w, version)
		return 0, err
	case verb == "status" && (len(rest) == 0 || len(rest) == 1 && rest[0] == "--json"):
		return 0, status(w, len(rest) == 1)
	case verb == "check" && len(rest) == 0:
		return check(w)
	case verb == WatchVerb && len(rest) == 0:
		return 0, watch(toKernel)
	case verb == "update":
		c, err := parseUpdate(rest)
		if err != nil {
			return statusUsage, err
		}
		if err := update(w, c); err != nil {
			return 1, err
		}
		return 0, nil
	case verb == stepVerb:
		if err := doStep(w, rest); err != nil {
			return 1, err
		}
		return 0, nil
	case verb == probeVerb:
		n, err := known()
		if err != nil {
			return 1, err
		}
		return 0, probe(w, rest, n.Facts)
	}
	return statusUsage, fmt.Errorf("unknown argument %q: see sidusnode --help", args)
}

// present is how the node is now.
func present() (*node, verdict, error) {
	n, err := known()
	if err != nil {
		return nil, verdict{}, err
	}
	f, err := ask(checkLimit, n.probesFor(os.Geteuid() == 0)...)
	if err != nil {
		return nil, verdict{}, err
	}
	n.merge(f)
	return n, judge(n), nil
}

func status(w io.Writer, json bool) error {
	n, v, err := present()
	if err != nil {
		return err
	}
	text := n.view(v).text()
	if json {
		text = n.view(v).json()
	}
	_, err = io.WriteString(w, text)
	return err
}

func check(w io.Writer) (int, error) {
	_, v, err := present()
	if err != nil {
		return statusUsage, err
	}
	if len(v.findings) == 0 {
		v.findings = []string{"current"}
	}
	for _, f := range v.findings {
		if _, err := fmt.Fprintln(w, f); err != nil {
			return v.status, err
		}
	}
	return v.status, nil
}
