// Package qemutests is the laboratory in which real machines boot from real
// servers, and the tests that do so.
//
// A Lab is a network in namespaces of its own: a bridge with ServerAddr on it,
// nfs-ganesha, dnsmasq and whatever else a test starts, and guests run by QEMU.
// It has no name and no place on disk. When the process that opened it ends, be
// it by SIGKILL, the kernel removes all of it, so labs neither clash nor leave
// anything behind.
//
//	lab := qemutests.NewLab(t, qemutests.LabOptions{})
//	tree, err := qemutests.Tree(ctx, "bookworm")           // made once, then cached
//	image, err := qemutests.BuildImage(ctx, tree)          // bin/initrdgen build
//	_, err = lab.StartNFS(ctx, qemutests.NFSOptions{Exports: []qemutests.Export{{Path: tree}}})
//	_, err = lab.StartDHCP(ctx, qemutests.DHCPOptions{})
//	guest, err := lab.Boot(ctx, qemutests.GuestOptions{Kernel: kernel, Initrd: image, Cmdline: …})
//	_, err = guest.WaitStage(ctx, "nfs", qemutests.Done)   // with EventParam on the command line
//	_, err = guest.Expect(ctx, `login: `)                  // on the console
//	out, err := guest.Must(ctx, "systemctl --failed")      // with AgentParam, or init=AgentInit
//	exit, err := guest.Wait(ctx)
//
// Every wait ends: at its context's deadline, or when the lab has made no progress
// for four minutes, which finds one that hangs and not a machine that is slow.
// It ends at once when the guest's kernel panics.
//
// # Running the tests
//
// Tests that boot need root, the programs that ./tools/prerequisites
// installs, and the build tag qemu:
//
//	make build
//	go test -tags qemu -v -run TestPeerProbe/bookworm ./qemu-tests
//
// They use no KVM: /dev/kvm can look well and hang. They need neither a host
// kernel with NFS nor a bridge on the host. One guest more than there are
// processors runs at a time on one machine, by all users of it.
//
// In the environment:
//
//	SIDUSBOOT_QEMU    1: whatever is missing fails the tests instead of skipping
//	                  them, as CI=true does; 0: skip them
//	SIDUSBOOT_LOGS    a folder for all logs and consoles, by test
//	SIDUSBOOT_CACHE   where trees and images are kept; default /var/cache/sidusboot
//	SIDUSBOOT_GUESTS  how many guests at a time on this machine
//	SIDUSBOOT_KVM     1: use KVM
//
// # Looking at a guest
//
// One machine with its console on the terminal, to play with:
//
//	go run ./qemu-tests/boot
//	go run ./qemu-tests/boot --suite trixie --initrd peer
//	go run ./qemu-tests/boot --append 'ip=dhcp root=nfs:10.77.0.1:%T init=/bin/sh'
//	go run ./qemu-tests/boot --run 'cat /run/sidusboot/boot.json'
//
// While a lab is open its first line of log tells how to look inside; for
// example, the packets on its bridge: nsenter -t PID -n -m -p tcpdump -n -i br0.
package qemutests
