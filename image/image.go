// Package image is the contract between initrdgen, which writes an image, and
// /init, which finds itself in one: where things are, and how the list of
// kernel modules is written down. It touches no file and reads no word.
package image

import "path"

// Paths inside the image. All are absolute.
const (
	// Init is the program that the kernel starts.
	Init = "/init"
	// Config holds the words that an image builder gave with --config.
	Config = "/etc/sidusboot.conf"
	// Secrets holds users and passwords by node, given with --secrets. Only root
	// may read it, in the image and on the build host.
	Secrets = "/etc/sidusboot.secrets"
	// Rescue is the program packed with --rescue, run by sidus.onerror=shell
	// when no tree is mounted. Absent from most images.
	Rescue = "/rescue"
	// Release tells what built the image; its presence also marks an initrd
	// for systemd (INITRD_INTERFACE).
	Release = "/etc/initrd-release"
	// Firmware is where the kernel looks for firmware files.
	Firmware = "/lib/firmware"
	// Modules holds one folder for each kernel release in the image.
	Modules = "/lib/modules"
)

// ManifestPath is the path of the manifest for one kernel release.
func ManifestPath(release string) string {
	return path.Join(Modules, release, "sidusboot.manifest")
}

// ModulePath is the path of a module, stored uncompressed and under its
// canonical name (underscores).
func ModulePath(release, name string) string {
	return path.Join(Modules, release, name+".ko")
}
