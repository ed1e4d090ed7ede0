package main

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	qemutests "github.com/sidusboot/sidusboot/qemu-tests"
)

//go:embed c/floor.c
var floorSource string

//go:embed c/realinit.c
var realinitSource string

// realinit is where the stand-in for the tree's init lies in the tree.
const realinit = "/usr/lib/sidusboot-test/realinit"

// compile makes a static program of C source.
func compile(ctx context.Context, source, output string, defines ...string) error {
	args := []string{"-static", "-O2", "-s", "-x", "c", "-", "-o", output + ".new"}
	for _, d := range defines {
		args = append(args, "-D"+d)
	}
	cmd := exec.CommandContext(ctx, "gcc", args...)
	cmd.Stdin = strings.NewReader(source)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("compile %s: %w: %s", output, err, out)
	}
	return os.Rename(output+".new", output)
}

// An image is one row's initrd.
type image struct {
	path  string
	built time.Duration
}

// buildOurs builds with this repository's initrdgen, three times, and takes
// the median: the first reads a cold disk.
func buildOurs(ctx context.Context, dir, tree, profile string) (image, error) {
	path := filepath.Join(dir, filepath.Base(profile)+".img")
	var times []time.Duration
	for range 3 {
		start := time.Now()
		out, err := exec.CommandContext(ctx, "bin/initrdgen", "build", "--root", tree, "--profile", profile, "--output", path).CombinedOutput()
		if err != nil {
			return image{}, fmt.Errorf("initrdgen: %w: %s", err, out)
		}
		times = append(times, time.Since(start))
	}
	return image{path, median(times)}, nil
}

// oneNIC is what a node with one network card (QEMU's e1000e) has.
const oneNIC = "pci:v00008086d000010D3sv00001AF4sd00000000bc02sc00i00\n"

// buildHost builds the image for nodes with that card and a LUN.
func buildHost(ctx context.Context, dir, tree string) (image, error) {
	devices := filepath.Join(dir, "onenic")
	if err := os.WriteFile(devices, []byte(oneNIC), 0o644); err != nil {
		return image{}, err
	}
	return buildOurs(ctx, dir, tree, "host="+devices+",iscsi")
}

func median(d []time.Duration) time.Duration {
	a, b, c := d[0], d[1], d[2]
	return max(min(a, b), min(max(a, b), c))
}

func buildPeer(ctx context.Context, dir, tree string) (image, error) {
	path, took, err := qemutests.MakePeerInitrd(ctx, tree, dir)
	return image{path, took}, err
}

// buildFloor packs the floor program and its modules, in modprobe's order.
func buildFloor(ctx context.Context, dir, tree, release string) (image, error) {
	root := filepath.Join(dir, "floor")
	if err := os.MkdirAll(root+"/m", 0o755); err != nil {
		return image{}, err
	}
	err := compile(ctx, floorSource, root+"/init", `ADDR="`+qemutests.NodeAddr+`"`, `SERVER="`+qemutests.ServerAddr+`"`,
		`TREE="`+tree+`"`, `PROGRAM="`+realinit+`"`)
	if err != nil {
		return image{}, err
	}
	seen := make(map[string]bool)
	for _, name := range []string{"virtio_pci", "virtio_net", "nfsv3", "overlay"} {
		out, err := exec.CommandContext(ctx, "modprobe", "-d", tree, "-S", release, "--show-depends", name).Output()
		if err != nil {
			return image{}, fmt.Errorf("modprobe --show-depends %s: %w", name, err)
		}
		for line := range strings.Lines(string(out)) {
			kind, file, _ := strings.Cut(strings.TrimSpace(line), " ")
			if kind != "insmod" || seen[file] {
				continue
			}
			b, err := os.ReadFile(strings.TrimSpace(file))
			if err != nil {
				return image{}, err
			}
			if err := os.WriteFile(fmt.Sprintf("%s/m/%02d", root, len(seen)), b, 0o644); err != nil {
				return image{}, err
			}
			seen[file] = true
		}
	}
	path := filepath.Join(dir, "floor.img")
	pack := `cd "$1" && mkdir -p dev && find . | cpio --quiet -o -H newc | zstd -q -19 -f -o "$2"`
	if out, err := exec.CommandContext(ctx, "sh", "-c", pack, "pack", root, path).CombinedOutput(); err != nil {
		return image{}, fmt.Errorf("pack the floor: %w: %s", err, out)
	}
	return image{path: path}, nil
}
