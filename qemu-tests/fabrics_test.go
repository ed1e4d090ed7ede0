//go:build qemu

package qemutests

import (
	"fmt"
	"slices"
	"testing"
)

// fabricName is the NVMe subsystem of TestFabrics.
const fabricName = "nqn.2026-11.org.sidusboot:disk"

// nvmeTarget has a server offer a RAM disk over NVMe/TCP, by the kernel's configfs.
const nvmeTarget = `set -e
modprobe brd rd_nr=1 rd_size=16384
printf 'from the target' | dd of=/dev/ram0 bs=4096 conv=sync status=none
modprobe nvmet_tcp
mountpoint -q /sys/kernel/config || mount -t configfs configfs /sys/kernel/config
cd /sys/kernel/config/nvmet
mkdir subsystems/%[1]s subsystems/%[1]s/namespaces/1 ports/1
echo 1 >subsystems/%[1]s/attr_allow_any_host
echo -n /dev/ram0 >subsystems/%[1]s/namespaces/1/device_path
echo 1 >subsystems/%[1]s/namespaces/1/enable
echo tcp >ports/1/addr_trtype
echo ipv4 >ports/1/addr_adrfam
echo %[2]s >ports/1/addr_traddr
echo 4420 >ports/1/addr_trsvcid
ln -s /sys/kernel/config/nvmet/subsystems/%[1]s ports/1/subsystems/`

// nfsByRDMA has a server of NFS listen for RDMA too, by a software RDMA device.
const nfsByRDMA = `set -e
modprobe -a rdma_rxe rpcrdma
rdma link add rxe0 type rxe netdev eth0
echo rdma 20049 >/proc/fs/nfsd/portlist`

// TestFabrics boots a node with the profiles nvme_tcp and rdma: the modules are loaded when
// the real init begins, and work. By NVMe/TCP, with digests, it reads a disk of a server,
// and by RDMA, over a virtual card with a software RDMA device, an NFS export.
func TestFabrics(t *testing.T) {
	t.Parallel()
	Require(t)
	Soak(t)
	s := newNFSDSite(t)
	server := s.nfsd(NFSDOptions{})
	for _, script := range []string{fmt.Sprintf(nvmeTarget, fabricName, NFSDAddr), nfsByRDMA} {
		if _, err := server.Must(s.ctx, script); err != nil {
			t.Fatal(err)
		}
	}
	s.dhcp(DHCPOptions{})
	g := s.boot("nfsroot="+NFSDAddr+":"+s.tree+",vers=3 "+probeParams, GuestOptions{
		Initrd: s.build("--profile=nvme_tcp,rdma", "--module=rdma_ucm", "--module=rdma_rxe"),
	})
	modules := s.report(g).Modules
	for _, name := range []string{"nvme_tcp", "nvme_fabrics", "rpcrdma", "rdma_cm", "rdma_ucm", "rdma_rxe"} {
		if !slices.Contains(modules, name) {
			t.Errorf("%s is not loaded, only %v", name, modules)
		}
	}
	s.same(g, []answer{
		{"ls -1 /dev/nvme-fabrics /dev/infiniband/rdma_cm", "/dev/infiniband/rdma_cm\n/dev/nvme-fabrics"},
		{fmt.Sprintf("echo transport=tcp,traddr=%s,trsvcid=4420,nqn=%s,hdr_digest,data_digest >/dev/nvme-fabrics", NFSDAddr, fabricName), ""},
	})
	s.until(g, "ls /dev/nvme0n1 2>&1", "/dev/nvme0n1")
	s.same(g, []answer{
		{"head -c 15 /dev/nvme0n1", "from the target"},
		{"cat /sys/class/nvme/nvme0/transport /sys/class/nvme/nvme0/state", "tcp\nlive"},
		{"rdma link add rxe0 type rxe netdev eth0 && mount -t nfs -o vers=4.1,proto=rdma,port=20049,ro " + NFSDAddr + ":" + s.tree + " /mnt", ""},
		{"cat /mnt/usr/share/sidusboot-test/lower", "from the shared tree"},
		{`awk '$2 == "/mnt" { print $4 }' /proc/mounts | grep -o proto=rdma`, "proto=rdma"},
		{"cksum </mnt/usr/bin/perl", s.run(g, "cksum </usr/bin/perl")},
	})
}
