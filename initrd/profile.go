package initrd

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/sidusboot/sidusboot/image"
)

// A set is a group of modules that belong together. Everything that they need
// comes along by itself, so only the ends of the chains are named.
type set struct {
	// modules are packed as far as the kernel has them.
	modules []string
	// dirs are folders below kernel/, packed with all that is in them.
	dirs []string
	// imports are symbols of the kernel: a module from elsewhere that asks for
	// one of them is of the set too, see outside.go.
	imports []string
	// except are modules, or folders that end in a slash, left out of both.
	except []string
	// devices says that these drive devices: their aliases go into the
	// manifest, so that /init finds them by what the node has.
	devices bool
	// usb are folders like those of dirs, of USB host controllers: a node whose NIC
	// or disk is found without them loads none.
	usb []string
	// disks says that those devices are disks: only a node that wants one loads
	// them.
	disks bool
	// only, where set, is the one architecture for whose kernels the set is.
	only arch
	// rare says that a node needs few of these: each is packed by itself, see packRare.
	rare bool
}

// A Profile is a choice of drivers. Several of them add up.
type Profile struct {
	// Name is what Options.Profiles holds.
	Name string
	// Help says in a line what it is for.
	Help string
	// Addition says that it has no drivers of NICs: where no other profile has
	// them, "generic" is added to it.
	Addition bool
	sets     []string
	// load are modules to be loaded at every boot, as far as the kernel has them.
	load []string
	// hosts are the nodes of HostProfile, by what was asked for.
	hosts []host
}

// Profiles are all that there are, in the order in which Build writes them.
func Profiles() []Profile { return slices.Clone(profiles) }

// DefaultProfile is the one that Build adds where none has drivers of NICs.
const DefaultProfile = "generic"

// HostProfile is the name of the profile that Options.Profiles asks for by the name of
// a file, as in "host=node7.json".
const HostProfile = "host=FILE"

var profiles = []Profile{
	{
		Name: "generic",
		Help: "all wired Ethernet drivers, also those for USB, and the usual virtual NICs",
		sets: slices.Concat(base, nicSets),
	},
	{
		Name: "virtual",
		Help: "the NICs of QEMU (not igb and i8255x), VMware, Hyper-V, Xen and VirtualBox",
		sets: slices.Concat(base, []string{"virtio", "virtual"}),
	},
	{
		Name: HostProfile,
		Help: "only the network drivers for the nodes whose devices are in FILE; may be repeated",
		// And bonding, for nodes with several cards.
		sets: []string{"nfs", "union", "packet", "vlan", "efi"},
	},
	{
		Name: "iscsi", Addition: true,
		Help: "adds what sidus.rw=iscsi needs: iSCSI over TCP, and ext4",
		sets: []string{"iscsi"},
	},
	{
		Name: "disk", Addition: true,
		Help: "adds what sidus.rw=LABEL=… needs: SATA, NVMe, SAS, USB and virtual disks, and ext4",
		sets: []string{"disk", "ext4"},
	},
	{
		Name: "infiniband", Addition: true,
		Help: "adds what sidus.ib= needs: InfiniBand cards, and IP over InfiniBand",
		sets: []string{"infiniband"},
	},
	{
		Name: "nvme_tcp", Addition: true,
		Help: "adds nvme_tcp (NVMe over TCP) and loads it at each boot, for your own programs",
		load: []string{"nvme_tcp"},
	},
	{
		Name: "rdma", Addition: true,
		Help: "adds RDMA drivers, and loads rpcrdma at each boot, for nfsroot=…,proto=rdma",
		sets: []string{"rdma"},
		load: []string{"rpcrdma"},
	},
}

// base are the sets of every profile.
var base = []string{"nfs", "union", "packet", "stack", "efi"}

// usbHosts are the folders of USB host controllers, those that can be devices too,
// and what stands between them and the port.
var usbHosts = []string{
	"drivers/usb/host", "drivers/usb/dwc2", "drivers/usb/dwc3", "drivers/usb/chipidea", "drivers/usb/cdns3", "drivers/usb/musb",
	"drivers/usb/mtu3", "drivers/usb/isp1760", "drivers/usb/fotg210", "drivers/usb/renesas_usbhs", "drivers/usb/c67x00", "drivers/usb/phy",
}

// sets are what profiles are made of.
var sets = map[string]set{
	// The kernel asks modprobe for nfsv3 and nfsv4 when it mounts, and there is
	// none in an initrd. rpcsec_gss_krb5 is left out: a node without a keytab
	// cannot use it.
	"nfs": {modules: []string{"nfs", "nfsv3", "nfsv4", "lockd", "grace", "nfs_acl", "sunrpc", "auth_rpcgss", "dns_resolver"}},

	"union": {modules: []string{"overlay", "aufs"}},

	// DHCP speaks through a packet socket.
	"packet": {modules: []string{"af_packet"}},

	// sidus.server=boot.
	"efi": {modules: []string{"efivarfs"}},

	// bond= and vlan=.
	"stack": {rare: true, modules: []string{"bonding", "8021q"}},
	"vlan":  {rare: true, modules: []string{"8021q"}},

	"ethernet": {
		devices: true, rare: true,
		dirs: []string{"drivers/net/ethernet", "drivers/net/mdio", "drivers/net/pcs"},
		// qlge: staging, up to Linux 6.6. With the others a guest of Hyper-V or Xen
		// sees PCI devices of the host.
		modules: []string{"qlge", "pci_hyperv", "xen_pcifront"},
		imports: []string{"alloc_etherdev_mqs", "devm_alloc_etherdev_mqs", "stmmac_dvr_probe"},
		// Chips of switches, not of nodes, with firmware of 50 MB and more.
		except: []string{"mellanox/mlxsw/", "marvell/prestera/"},
	},

	// NICs that use phylib fall back to a generic PHY driver, which some chips
	// do not stand; and nobody asks modprobe for the right one in here.
	"phy": {
		devices: true, rare: true,
		dirs:    []string{"drivers/net/phy"},
		imports: []string{"phy_drivers_register", "phy_driver_register"},
	},

	// What a NIC, or the PCIe bridge before it, waits for on boards with a device tree:
	// clocks, regulators, pins, resets, buses to the chips that have these, the memory
	// with its address. Each is a device by itself, and the kernel holds the NIC back
	// until all have a driver.
	"board": {
		only: arm64, devices: true, rare: true,
		dirs: []string{
			"drivers/bus", "drivers/clk", "drivers/dma", "drivers/extcon", "drivers/firmware", "drivers/genpd", "drivers/gpio",
			"drivers/hwspinlock", "drivers/i2c/busses", "drivers/i2c/muxes", "drivers/interconnect", "drivers/iommu", "drivers/irqchip",
			"drivers/mailbox", "drivers/memory", "drivers/mfd", "drivers/mux", "drivers/nvmem", "drivers/pci/controller",
			"drivers/phy", "drivers/pinctrl", "drivers/pmdomain", "drivers/regulator", "drivers/reset", "drivers/rpmsg",
			"drivers/soc", "drivers/spi", "drivers/spmi",
		},
	},

	"virtio": {devices: true, modules: []string{"virtio_net", "virtio_pci", "virtio_mmio"}},

	"virtual": {devices: true, rare: true, modules: []string{
		"e1000", "e1000e", "vmxnet3", "hv_netvsc", "hv_vmbus", "xen_netfront", "pcnet32",
		// What QEMU, Xen and Hyper-V emulate besides, but for igb, which is big, and e100,
		// which wants firmware.
		"8139cp", "8139too", "ne2k_pci", "tulip",
	}},

	"ext4": {modules: []string{"ext4"}},

	"iscsi": {modules: image.ProfileModules("iscsi")},

	// The cards whose links are InfiniBand's or Omni-Path's, not Ethernet's.
	"infiniband": {devices: true, rare: true, modules: slices.Concat(image.ProfileModules("infiniband"), []string{
		"mlx4_core", "mlx4_ib", "mlx5_core", "mlx5_ib", "ib_mthca", "ib_qib", "hfi1",
	})},

	// Each with the NIC below it, which the driver needs: without the NIC's aliases
	// nothing would load it.
	"rdma": {devices: true, rare: true, modules: []string{
		"rpcrdma", "mlx5_core", "mlx5_ib", "mlx4_core", "mlx4_en", "mlx4_ib", "ice", "i40e", "irdma", "bnxt_en", "bnxt_re", "qede", "qedr",
		"cxgb4", "iw_cxgb4", "be2net", "ocrdma", "ena", "efa", "erdma", "mana", "mana_ib", "vmxnet3", "vmw_pvrdma",
	}},

	// Adapters of storage networks (Fibre Channel, FCoE, iSCSI offload) are left out:
	// what is behind one is no disk of the node's own.
	"disk": {devices: true, disks: true, rare: true, modules: []string{
		"sd_mod", "mmc_block",
		"nvme", "vmd", "mtip32xx",
		"virtio_blk", "virtio_scsi", "virtio_pci", "virtio_mmio",
		"vmw_pvscsi", "BusLogic", "hv_storvsc", "hv_vmbus", "xen_blkfront", "xen_scsifront",
		"mptsas", "mptspi", "mpt3sas", "mpi3mr", "megaraid_sas", "megaraid_mbox", "aacraid", "hpsa", "smartpqi",
		"isci", "mvsas", "mvumi", "pm80xx", "arcmsr", "hptiop", "esas2r", "stex", "ips", "ipr", "pmcraid", "myrs", "3w_9xxx", "3w_sas",
		"aic7xxx", "aic79xx", "sym53c8xx", "am53c974",
	}, dirs: []string{"drivers/ata", "drivers/mmc/host", "drivers/ufs/host", "drivers/usb/storage"}, usb: usbHosts,
		// A card reader that wants firmware.
		except: []string{"ums_eneub6250"}},

	"usb": {
		devices: true, rare: true,
		dirs:    []string{"drivers/net/usb"},
		usb:     usbHosts,
		imports: []string{"usbnet_probe"},
		except: []string{
			// Modems and phones.
			"qmi_wwan", "cdc_mbim", "huawei_cdc_ncm", "hso", "sierra_net", "kalmia", "lg_vl600",
			"cdc_phonet", "ipheth", "cx82310_eth",
			// Cables between two computers.
			"plusb", "net1080", "gl620a", "cdc_subset", "zaurus",
		},
	},
}

// A requirement is met by any one of its modules, as a file or built in.
type requirement struct {
	anyOf  []string
	option string
	// profile, where set, is the only one that asks for it.
	profile string
	// warn says that a boot may do without, in the way that without tells.
	warn    bool
	without string
}

// requirements are checked for every kernel that is packed.
var requirements = []requirement{
	{anyOf: []string{"nfs"}, option: "CONFIG_NFS_FS"},
	{anyOf: []string{"nfsv3"}, option: "CONFIG_NFS_V3"},
	{anyOf: []string{"nfsv4"}, option: "CONFIG_NFS_V4", warn: true, without: "nodes can mount the root over NFSv3 only"},
	{anyOf: []string{"overlay", "aufs"}, option: "CONFIG_OVERLAY_FS"},
	{anyOf: []string{"iscsi_tcp"}, option: "CONFIG_ISCSI_TCP", profile: "iscsi"},
	{anyOf: []string{"sd_mod"}, option: "CONFIG_BLK_DEV_SD", profile: "iscsi"},
	{anyOf: []string{"nvme_tcp"}, option: "CONFIG_NVME_TCP", profile: "nvme_tcp"},
	{anyOf: []string{"rpcrdma"}, option: "CONFIG_SUNRPC_XPRT_RDMA", profile: "rdma", warn: true, without: "nodes cannot mount the root with proto=rdma"},
	{anyOf: []string{"sd_mod"}, option: "CONFIG_BLK_DEV_SD", profile: "disk", warn: true, without: "nodes find NVMe and virtio disks only"},
}

// choose gives the modules of the set that a kernel has, sorted.
func (s set) choose(k *kernel) []string {
	var names []string
	if s.only != (arch{}) && s.only != k.arch {
		return nil
	}
	for _, name := range k.order {
		if s.has(name, k.files[name]) {
			names = append(names, name)
		}
	}
	if s.imports != nil {
		for _, name := range k.networkDrivers(s.imports) {
			if !s.leavesOut(name, k.files[name]) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// has tells whether a module is of the set, by its name or its file.
func (s set) has(name, file string) bool {
	if slices.Contains(s.modules, name) {
		return true
	}
	return s.inFolder(s.dirs, name, file) || s.inFolder(s.usb, name, file)
}

func (s set) inFolder(dirs []string, name, file string) bool {
	return slices.ContainsFunc(dirs, func(dir string) bool {
		rest, ok := strings.CutPrefix(file, path.Join("kernel", dir)+"/")
		return ok && !s.leavesOut(name, rest)
	})
}

func (s set) leavesOut(name, file string) bool {
	return slices.ContainsFunc(s.except, func(e string) bool {
		return e == name || strings.HasSuffix(e, "/") && strings.Contains("/"+file, "/"+e)
	})
}

// check gives what a kernel lacks: an error where no node could boot, else
// warnings.
func check(t *tree, k *kernel, chosen []Profile) (warnings []string, err error) {
	for _, r := range requirements {
		asked := r.profile == "" || slices.ContainsFunc(chosen, func(p Profile) bool { return p.Name == r.profile })
		if !asked || slices.ContainsFunc(r.anyOf, k.has) {
			continue
		}
		missing := fmt.Sprintf("kernel %s in %s has no %s, neither as a module nor built in",
			k.release, t.path(path.Join(modulesDir, k.release)), strings.Join(r.anyOf, " and no "))
		if r.warn {
			warnings = append(warnings, missing+": "+r.without)
			continue
		}
		if len(k.problems) > 0 {
			missing += " (" + k.problems[0] + ")"
		}
		return nil, fmt.Errorf("%s: install a kernel with %s, or the package with the rest of its modules, in the tree and run depmod", missing, r.option)
	}
	return warnings, nil
}
