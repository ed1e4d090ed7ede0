package bootdir_test

import (
	"context"
	"fmt"
	"log"

	"github.com/sidusboot/sidusboot/bootdir"
	"github.com/sidusboot/sidusboot/bootfiles"
)

// After each build of an image.
func ExampleInstall() {
	report, err := bootdir.Install(context.Background(), bootdir.Options{
		Options: bootfiles.Options{
			Image:  "/var/lib/site/initrd.img",
			Root:   "/srv/nfs/bookworm",
			Append: "nfsroot=10.0.0.1:/srv/nfs/bookworm",
		},
		Dir:   "/srv/tftp",
		Owner: -1, // The image holds no secrets.
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, change := range report.Changes {
		fmt.Println(change.Action, change.Path)
	}
}

// Back to the version that was in use before.
func ExampleRollback() {
	report, err := bootdir.Rollback(bootdir.Options{Dir: "/srv/tftp"}, "")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(report.Version)
}
