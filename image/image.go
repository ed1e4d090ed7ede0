// Package image is the contract between the generator, which writes an image, and
// /init, which runs in one: where files are, which profile adds which module, and
// how the list of kernel modules is written down. It opens no file.
package image

import (
	"path"
	"strings"
)

// Paths inside the image. All are absolute.
const (
	// Init is the program that the kernel starts.
	Init = "/init"
	// Config holds kernel command line parameters that were packed into the image.
	Config = "/etc/sidusboot.conf"
	// Secrets holds users and passwords by node. Only root may read it.
	Secrets = "/etc/sidusboot.secrets"
	// Rescue is the shell for a node that has no tree mounted. Most images have
	// none.
	Rescue = "/rescue"
	// Release tells what built the image; its presence also marks an initrd
	// for systemd (INITRD_INTERFACE).
	Release = "/etc/initrd-release"
	// Firmware is where the kernel looks for firmware files.
	Firmware = "/lib/firmware"
	// Modules has one directory for each kernel release in the image.
	Modules = "/lib/modules"
)

// Mount points. Every image has them, and /init moves them into the root file
// system of the node.
const (
	// ReadOnly is the tree that the server exports.
	ReadOnly = "/ro"
	// ReadWrite is the node's own layer: a tmpfs or a volume.
	ReadWrite = "/rw"
	// Union is the two of them in one, which becomes the node's root.
	Union = "/aufs"
)

// Directories are those that every image has, parents first.
func Directories() []string {
	return []string{"/proc", "/sys", "/run", ReadOnly, ReadWrite, Union, "/etc", "/lib", "/tmp"}
}

// ManifestPath is the path of the manifest for one kernel release.
func ManifestPath(release string) string {
	return path.Join(Modules, release, "sidusboot.manifest")
}

// ModulePath is the path of a module, stored uncompressed and under its
// canonical name (underscores). One that few nodes need is stored packed, under
// this path with a suffix.
func ModulePath(release, name string) string {
	return path.Join(Modules, release, name+".ko")
}

// Suffixes of packed modules.
const (
	// PackedZstd is of one that /init unpacks: a frame of zstd that says its size. What is
	// in it may be arranged by package columns.
	PackedZstd = ".columns.zst"
	// PackedXz is of one that the kernel unpacks.
	PackedXz = ".xz"
)

// MaxModule is how many bytes a module may have, unpacked.
const MaxModule = 256 << 20

// UnpackedPath is the path of a packed module without its suffix, or false where it
// is none. Modules of images of others lie deeper.
func UnpackedPath(file string) (string, bool) {
	for _, suffix := range []string{PackedZstd, PackedXz} {
		name, ok := strings.CutSuffix(path.Join("/", file), suffix)
		if ok && path.Ext(name) == ".ko" && path.Dir(path.Dir(name)) == Modules {
			return strings.TrimSuffix(file, suffix), true
		}
	}
	return "", false
}
