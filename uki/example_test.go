package uki_test

import (
	"context"
	"fmt"
	"log"

	"github.com/sidusboot/sidusboot/bootfiles"
	"github.com/sidusboot/sidusboot/uki"
)

// One file for UEFI's HTTP boot, after the stub of a tree with systemd-boot-efi.
func ExampleBuild() {
	report, err := uki.Build(context.Background(), uki.Options{
		Options: bootfiles.Options{
			Image:  "/var/lib/site/initrd.img",
			Root:   "/srv/nfs/bookworm",
			Append: "nfsroot=10.0.0.1:/srv/nfs/bookworm",
		},
		Output: "/srv/www/sidus.efi",
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(report.Bytes, "bytes")
}
