package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	qemutests "github.com/sidusboot/sidusboot/qemu-tests"
)

// dracutTree is the suite's tree with dracut in it, which makes an image for a root on
// NFS: for any machine (--no-hostonly), as the others are, with Debian's script for a
// union (rootovl). Debian 12's dracut gets no address by systemd-networkd: dhclient does.
func dracutTree(suite string) qemutests.Variant {
	return qemutests.Variant{
		Suite: suite, Packages: []string{"dracut-core", "dracut-network"},
		Script: `release=$(ls /lib/modules | sort -V | tail -n 1)
start=$(date +%s.%N)
dracut --quiet --force --no-hostonly --add "nfs network-legacy" --omit systemd-networkd --compress zstd ` + dracutImage + ` "$release"
echo "$start $(date +%s.%N)" | awk '{ print $2 - $1 }' >` + dracutImage + `.seconds
chmod 644 ` + dracutImage,
	}
}

const dracutName = "dracut"

// dracutImage is where the image lies in the tree, and beside it how long it took.
const dracutImage = "/boot/dracut.img"

// findDracut finds what was made with the tree.
func findDracut(tree string) (image, error) {
	path := filepath.Join(tree, dracutImage)
	if _, err := os.Stat(path); err != nil {
		return image{}, err
	}
	took, err := qemutests.ReadSeconds(path + ".seconds")
	return image{path, took}, err
}

// dracutRow boots the tree by its dracut.
func dracutRow(ctx context.Context, suite string) (row, error) {
	tree, err := dracutTree(suite).Tree(ctx)
	if err != nil {
		return row{}, fmt.Errorf("tree with dracut: %w", err)
	}
	return row{
		name: dracutName, tree: tree, build: func() (image, error) { return findDracut(tree) },
		params: "ip=dhcp rootovl root=nfs:" + qemutests.ServerAddr + ":" + tree + ":ro",
	}, nil
}
