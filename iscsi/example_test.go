package iscsi_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/sidusboot/sidusboot/iscsi"
)

// A session is made, its disk used, and the session ended. It needs the kernel's
// modules, and a target.
func Example() {
	portal, err := iscsi.ParsePortal("10.0.0.1")
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	kernel, err := iscsi.Open("/")
	if err != nil {
		log.Fatal(err)
	}
	defer kernel.Close()
	session, err := kernel.Await(ctx, iscsi.Target{
		Name: "iqn.2013-09.org.example:disk", Initiator: "iqn.2013-09.org.example:node1",
		Portals: []iscsi.Portal{portal}, User: "node1", Password: "a secret of 12 bytes",
	}, log.Printf)
	if err != nil {
		log.Fatal(err)
	}
	disk, err := session.Disk(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(disk.Path)
	if err := session.Logout(ctx); err != nil {
		log.Fatal(err)
	}
}

func ExampleParsePortal() {
	for _, text := range []string{"nas.example.org", "10.0.0.1:3261", "[fd00::1]:3260,1"} {
		portal, err := iscsi.ParsePortal(text)
		fmt.Println(portal, err)
	}
	// Output:
	// nas.example.org:3260 <nil>
	// 10.0.0.1:3261 <nil>
	// [fd00::1]:3260 <nil>
}

func ExampleNormalizeName() {
	name, err := iscsi.NormalizeName("IQN.2013-09.org.example:Node1")
	fmt.Println(name, err)
	_, err = iscsi.NormalizeName("node1")
	fmt.Println(err)
	// Output:
	// iqn.2013-09.org.example:node1 <nil>
	// "node1": does not start with iqn., eui. or naa. and a name
}
