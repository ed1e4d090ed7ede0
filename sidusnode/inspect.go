package sidusnode

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/tree"
)

// Names in /boot of a tree: what treecheck knows, too.
const (
	kernelPrefix = "vmlinuz-"
	imagePrefix  = "initrd-sidus-"
)

// inspect says what a version, which is mounted on roDir, has beside the tree that
// the node runs.
func inspect(say func(key, value string), release, init string) {
	say("stays", stays(release))
	if !tree.At(roDir).RunsSystemd(init) {
		say("new_init", "the version's init program is not systemd")
	}
	newest := time.Time{}
	for _, name := range names(roDir, "/boot") {
		with, ok := strings.CutPrefix(name, imagePrefix)
		if !ok {
			continue
		}
		if _, err := tree.At(roDir).Stat("/boot/" + kernelPrefix + with); err != nil {
			continue
		}
		// The one that was made last is the one that is meant.
		if info, err := tree.At(roDir).Stat("/boot/" + name); err == nil && info.ModTime().After(newest) {
			newest = info.ModTime()
			say("release", with)
		}
	}
}

// stays is empty if a version can run with the kernel and image that run, else the
// reason.
func stays(release string) string {
	const modules = "/lib/modules"
	if !tree.At(roDir).IsDir(modules + "/" + release) {
		return "the version has no modules for the running kernel, " + release
	}
	old := names(oldDir, modules)
	for _, r := range names(roDir, modules) {
		if !slices.Contains(old, r) {
			return "the version has another kernel, " + r
		}
	}
	for _, prefix := range []string{kernelPrefix, imagePrefix} {
		if name := "/boot/" + prefix + release; !sameFile(name) {
			return "the version has another " + name
		}
	}
	return ""
}

// loadKernel loads a kernel of the version with its image of sidusboot, to be
// started by kexec. more is added to the command line of this boot.
func loadKernel(release, more string) error {
	cmdline, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return err
	}
	var files [2]*os.File
	for i, prefix := range []string{kernelPrefix, imagePrefix} {
		if files[i], err = tree.At(roDir).Open("/boot/" + prefix + release); err != nil {
			return err
		}
		defer files[i].Close()
	}
	text := strings.TrimRight(string(cmdline), "\n\x00") + more
	if err := unix.KexecFileLoad(int(files[0].Fd()), int(files[1].Fd()), text, 0); err != nil {
		return fmt.Errorf("load the kernel %s: %w", release, err)
	}
	return nil
}

// parseSystemd reads the number from systemd's version: "257.8-1~deb13u2", "254-rc1".
// It is 0 where it has none.
func parseSystemd(version string) int {
	n := 0
	for _, c := range []byte(version) {
		if c < '0' || c > '9' {
			break
		}
		n = n*10 + int(c-'0')
	}
	return n
}
