package initrd

// A hidden dependency is one that the kernel resolves at run time by asking
// modprobe, so modules.dep cannot know it.
type hidden struct {
	module string
	// pre is loaded before, post after; names or aliases, as in a softdep.
	pre, post []string
	// why says where the kernel asks.
	why string
}

// hiddenDeps is searched for every module that goes in. A name that a kernel
// does not have is skipped: there it is built in, or needed no more.
var hiddenDeps = []hidden{
	{module: "iscsi_tcp", pre: []string{"crypto_crc32c"},
		why: "iscsi_sw_tcp_conn_create allocates crc32c, used or not"},
	{module: "nvme_tcp", pre: []string{"crypto_crc32c"},
		why: "nvme_tcp_alloc_crypto, for digests"},
	{module: "ext4", pre: []string{"crypto_crc32c"},
		why: "ext4_fill_super allocates crc32c for metadata_csum"},
	{module: "jbd2", pre: []string{"crypto_crc32c"},
		why: "the journal's checksums"},
	{module: "libcrc32c", pre: []string{"crypto_crc32c"},
		why: "its own init fails without"},
	{module: "sd_mod", pre: []string{"crct10dif"},
		why: "crc_t10dif allocates it for protection information"},
	{module: "virtio_net", pre: []string{"virtio_pci"},
		why: "the NIC's device appears only with the transport"},
	{module: "hv_netvsc", pre: []string{"hv_vmbus"},
		why: "the NIC's device appears only with the bus"},
	{module: "mlx4_core", post: []string{"mlx4_en"},
		why: "mlx4_request_modules asks for the Ethernet half"},

	// PHY drivers: phy_device_create asks for mdio:ID, and gets no answer in an initrd. The
	// MACs that have one particular PHY beside them, or inside.
	{module: "r8169", pre: []string{"realtek"}, why: "refuses to probe without its PHY driver"},
	{module: "tg3", pre: []string{"broadcom"}, why: "tg3_phy_init knows BCM50610, 57780 and their like"},
	{module: "lan743x", pre: []string{"microchip", "micrel"}, why: "PHY inside, or a KSZ9131 beside"},
	{module: "lan78xx", pre: []string{"microchip", "micrel"}, why: "PHY inside, or a KSZ9031 beside"},
	{module: "smsc95xx", pre: []string{"smsc"}, why: "PHY inside"},
	{module: "smsc9420", pre: []string{"smsc"}, why: "PHY inside"},
	{module: "asix", pre: []string{"ax88796b"}, why: "PHY inside"},
	{module: "et131x", pre: []string{"et1011c"}, why: "PHY inside"},
	{module: "dwmac_intel", pre: []string{"marvell"}, why: "88E1512 or 88E2110 on Elkhart Lake boards"},
	{module: "amd_xgbe", pre: []string{"amd", "marvell"}, why: "the PHYs of AMD's boards"},
	{module: "r6040", pre: []string{"davicom", "icplus"}, why: "the PHYs on Vortex86 boards"},
}
