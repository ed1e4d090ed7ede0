package initrd_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"

	"github.com/sidusboot/sidusboot/initrd"
)

// An image for virtual machines with iSCSI volumes.
func ExampleBuild() {
	report, err := initrd.Build(context.Background(), initrd.Options{
		Root:     "/srv/nfs/bookworm",
		Output:   "/srv/tftp/initrd.img",
		Profiles: []string{"virtual", "iscsi"},
		Init:     "/usr/lib/sidusboot/init",
	})
	if option := (*initrd.OptionError)(nil); errors.As(err, &option) {
		log.Fatalf("the option %s: %v", option.Field, option.Err)
	}
	if err != nil {
		log.Fatal(err)
	}
	for _, warning := range report.Warnings {
		log.Print(warning)
	}
	fmt.Println(report.Packed, "bytes")
}

// The archives of an image, as of one with microcode before the rest.
func ExampleList() {
	image, err := os.Open("/boot/initrd.img-6.1.0-56-amd64")
	if err != nil {
		log.Fatal(err)
	}
	defer image.Close()
	listing, err := initrd.List(image)
	if err != nil {
		log.Fatal(err)
	}
	for _, a := range listing.Archives {
		fmt.Println(a.Offset, a.Compression, a.Files)
	}
}

// The modules of an image, in a directory of their own.
func ExampleExtract() {
	image, err := os.Open("/srv/tftp/initrd.img")
	if err != nil {
		log.Fatal(err)
	}
	defer image.Close()
	done, err := initrd.Extract(context.Background(), image, "/tmp/modules", "lib/modules")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(done.Files, "files")
}

// What a new build changes.
func ExampleDiff() {
	var images [2]*os.File
	for i, name := range []string{"/srv/tftp/initrd.img.old", "/srv/tftp/initrd.img"} {
		f, err := os.Open(name)
		if err != nil {
			log.Fatal(err)
		}
		defer f.Close()
		images[i] = f
	}
	d, err := initrd.Diff(images[0], images[1])
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("modules that are gone:", d.ModulesOnlyFirst)
}

// Whether a node would boot, before it is rebooted.
func ExampleCheck() {
	image, err := os.Open("/srv/tftp/initrd.img")
	if err != nil {
		log.Fatal(err)
	}
	defer image.Close()
	verdict, err := initrd.Check(image, initrd.CheckOptions{
		Devices: []string{"pci:v00008086d000010FBsv00008086sd00000003bc02sc00i00"},
		Root:    "/srv/nfs/bookworm",
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, reason := range verdict.Reasons {
		fmt.Println(reason.Text, "-", reason.Remedy)
	}
}
