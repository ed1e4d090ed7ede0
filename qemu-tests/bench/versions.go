package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"

	qemutests "github.com/sidusboot/sidusboot/qemu-tests"
)

// A wholeBoot is what a Debian costs from the kernel's start until systemd has
// started all, by one version of NFS on one server.
type wholeBoot struct {
	server, version string
	// at are seconds since the kernel's start: /init done, all started.
	handover, up float64
	rpcs, opens  int
	got          string // the version, as boot.json says
}

// compareVersions boots a whole Debian by each version of NFS from nfs-ganesha
// and from nfsd, and prints what each costs.
func compareVersions(ctx context.Context, suite string) error {
	tree, err := qemutests.Tree(ctx, suite)
	if err != nil {
		return err
	}
	image, err := qemutests.BuildImage(ctx, tree, "--profile=virtual")
	if err != nil {
		return err
	}
	var all []wholeBoot
	for _, server := range []string{"ganesha", "nfsd"} {
		boots, err := bootVersions(ctx, tree, image, server)
		if err != nil {
			return fmt.Errorf("%s: %w", server, err)
		}
		all = append(all, boots...)
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "server, vers=\tversion\thandover\tall started\tRPCs\tof these open and close\t")
	for _, b := range all {
		fmt.Fprintf(w, "%s, %q\t%s\t%.2f\t%.2f\t%d\t%d\t\n", b.server, b.version, b.got, b.handover, b.up, b.rpcs, b.opens)
	}
	return w.Flush()
}

func bootVersions(ctx context.Context, tree, image, server string) (all []wholeBoot, err error) {
	lab, err := qemutests.Open(ctx, qemutests.LabOptions{})
	if err != nil {
		return nil, err
	}
	defer lab.Close()
	kernel, _, err := qemutests.Kernel(tree)
	if err != nil {
		return nil, err
	}
	if err := lab.Reserve(ctx, 1); err != nil {
		return nil, err
	}
	addr := qemutests.ServerAddr
	if server == "nfsd" {
		addr = qemutests.NFSDAddr
		_, err = lab.StartNFSD(ctx, qemutests.NFSDOptions{Tree: tree})
	} else {
		_, err = lab.StartNFS(ctx, qemutests.NFSOptions{Exports: []qemutests.Export{{Path: tree}}})
	}
	if err != nil {
		return nil, err
	}
	if _, err := lab.StartDHCP(ctx, qemutests.DHCPOptions{}); err != nil {
		return nil, err
	}
	for _, version := range []string{"", "4.2", "4.1", "4.0"} {
		fmt.Fprintf(os.Stderr, "bench: booting Debian from %s, vers=%q\n", server, version)
		root := fmt.Sprintf("%s:%s", addr, tree)
		if version != "" {
			root += ",vers=" + version
		}
		b, err := bootWhole(ctx, lab, kernel, image, root)
		if err != nil {
			return nil, err
		}
		b.server, b.version = server, version
		all = append(all, b)
	}
	return all, nil
}

// bootWhole boots a Debian until systemd has started all.
func bootWhole(ctx context.Context, lab *qemutests.Lab, kernel, image, root string) (b wholeBoot, err error) {
	guest, err := lab.Boot(ctx, qemutests.GuestOptions{
		Name: "bench", Kernel: kernel, Initrd: image, Icount: true,
		Cmdline: "console=ttyS0 quiet nfsroot=" + root + " " + qemutests.AgentParam,
	})
	if err != nil {
		return b, err
	}
	defer guest.Kill()
	// The sum of all operations of versions 3 and 4; of 4, OPEN, OPEN_NOATTR,
	// OPEN_CONFIRM and CLOSE (linux/nfs4.h, NFSPROC4_CLNT_*).
	out, err := guest.Must(ctx, `systemctl is-system-running --wait >/dev/null
cut -d' ' -f1 /proc/uptime
awk '/handing over/ { sub(/^.*\[ */, ""); print $1 + 0; exit }' /run/sidusboot/boot.log
awk '$1 == "proc3" || $1 == "proc4" { for (i = 3; i <= NF; i++) n += $i } $1 == "proc4" { o = $7 + $8 + $9 + $11 } END { print n, o + 0 }' /proc/net/rpc/nfs
sed -n 's/.*"nfs_version": *"\(.*\)".*/\1/p' /run/sidusboot/boot.json`)
	if err != nil {
		return b, err
	}
	if _, err := fmt.Sscan(strings.Join(strings.Fields(out), " "), &b.up, &b.handover, &b.rpcs, &b.opens, &b.got); err != nil {
		return b, fmt.Errorf("%q: %w", out, err)
	}
	fmt.Fprintf(os.Stderr, "bench: %+v\n", b)
	return b, nil
}

// printCalls counts the calls of whole boots and prints them with their limits.
func printCalls(ctx context.Context, suite string) error {
	tree, err := qemutests.Tree(ctx, suite)
	if err != nil {
		return err
	}
	image, err := qemutests.BuildImage(ctx, tree, "--profile=virtual")
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "bench: booting Debian from a plain tree and from a version")
	plain, version, err := countCalls(ctx, tree, image)
	if err != nil {
		return err
	}
	target("RPCs until systemd has started all, plain tree", float64(plain.rpcs), 4600, false)
	target("RPCs until systemd has started all, version", float64(version.rpcs), 2250, false)
	return nil
}

// countCalls is what a whole boot of a plain tree asks of nfs-ganesha by the
// default version, and what one of a version of it does.
func countCalls(ctx context.Context, tree, image string) (plain, version wholeBoot, err error) {
	lab, err := qemutests.Open(ctx, qemutests.LabOptions{})
	if err != nil {
		return plain, version, err
	}
	defer lab.Close()
	base, err := lab.PublishTree(ctx, tree)
	if err != nil {
		return plain, version, err
	}
	kernel, _, err := qemutests.Kernel(tree)
	if err != nil {
		return plain, version, err
	}
	if err := lab.Reserve(ctx, 1); err != nil {
		return plain, version, err
	}
	_, err = lab.StartNFS(ctx, qemutests.NFSOptions{Exports: []qemutests.Export{{Path: tree}, {Path: base}}})
	if err != nil {
		return plain, version, err
	}
	if _, err := lab.StartDHCP(ctx, qemutests.DHCPOptions{}); err != nil {
		return plain, version, err
	}
	ctx, cancel := lab.Watched(ctx)
	defer cancel()
	if plain, err = bootWhole(ctx, lab, kernel, image, qemutests.ServerAddr+":"+tree); err != nil {
		return plain, version, fmt.Errorf("plain tree: %w", err)
	}
	version, err = bootWhole(ctx, lab, kernel, image, qemutests.ServerAddr+":"+base)
	return plain, version, err
}
