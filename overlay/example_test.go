package overlay_test

import (
	"fmt"

	"github.com/sidusboot/sidusboot/overlay"
)

// A printer is a kernel that has overlayfs only, and prints what it is asked for.
type printer struct{}

func (printer) Load(module string) error {
	if module != "overlay" {
		return fmt.Errorf("module %s is not in this image", module)
	}
	fmt.Println("modprobe", module)
	return nil
}

func (printer) Has(fstype string) (bool, error) { return fstype == "overlay", nil }

func (printer) Mount(device, dir, fstype string, _ uintptr, data string) error {
	fmt.Printf("mount -t %s %s %s\n  -o %s\n", fstype, device, dir, data)
	return nil
}

func (printer) Unmount(dir string) error {
	fmt.Println("umount", dir)
	return nil
}

func ExampleMount() {
	var sys printer
	kind, err := overlay.Choose(sys, "")
	if err != nil {
		fmt.Println(err)
		return
	}
	layers := overlay.Layers{Lower: "/ro", Upper: "/rw/upper", Work: "/rw/work", XIno: "/rw/.aufs.xino", Source: "/rw"}
	works := func(dir string) error {
		fmt.Println("a file is written to", dir)
		return nil
	}
	if err := overlay.Mount(sys, kind, layers, "/aufs", works); err != nil {
		fmt.Println(err)
	}
	// Output:
	// modprobe overlay
	// mount -t overlay /rw /aufs
	//   -o lowerdir=/ro,upperdir=/rw/upper,workdir=/rw/work,index=off,nfs_export=off,xino=off,metacopy=off,redirect_dir=on
	// a file is written to /aufs
}
