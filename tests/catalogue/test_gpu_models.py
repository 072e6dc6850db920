"""Which model a card is: the table that comes along, and what an operator adds."""

from dataclasses import replace

import pytest
from tests.catalogue.test_file import data_center, machine_type

from cumulet.catalogue import identify_gpu, read_catalogue, with_gpus
from cumulet.catalogue.file import parse_catalogue
from cumulet.catalogue.gpu_models import shipped_models
from cumulet.errors import Invalid

NO_SUBSYSTEM = "0000:0000"
L40S = machine_type(gpu_model_id='"nvidia-l40s"', max_vcpu_per_gpu="8")


def gpu_model(id, name, pci_ids):
    words = {"id": id, "vendor_name": "A maker", "model_name": name}
    lines = "".join(f'{key} = "{value}"\n' for key, value in words.items())
    return f"[[gpu_models]]\n{lines}memory_gib = 24\n{f'pci_ids = {pci_ids}' if pci_ids else ''}\n"


def name_of(catalogue, pci_id, subsystem_id=NO_SUBSYSTEM):
    model = identify_gpu(catalogue, pci_id, subsystem_id)
    return model and model.model_name


def test_no_two_models_of_the_table_have_an_id_in_common():
    models = shipped_models()
    assert len({one.id for one in models}) == len(models)
    ids = [ids for one in models for ids in one.pci_ids]
    assert len(set(ids)) == len(ids)
    assert all(one.pci_ids for one in models)


@pytest.mark.parametrize(
    ("pci_id", "name"),
    [
        ("10de:2330", "H100 SXM"),
        ("10de:20f1", "A100 PCIe 40GB"),
        ("1002:74a1", "Instinct MI300X"),
        ("1002:744c", None),
        ("8086:4680", None),
    ],
)
def test_the_table_knows_common_cards_and_guesses_at_none(pci_id, name):
    assert name_of(read_catalogue(None), pci_id) == name


def test_what_is_in_the_table_is_offered_when_a_machine_type_refers_to_it():
    assert read_catalogue(None).gpu_models == ()
    (model,) = parse_catalogue(data_center() + L40S).gpu_models
    assert (model.id, model.model_name) == ("nvidia-l40s", "L40S")


def test_an_operator_s_model_may_have_the_cards_of_one_of_the_table_that_is_offered_beside_it():
    catalogue = parse_catalogue(data_center() + gpu_model("ours", "Ours", '["10de:26b9"]') + L40S)
    assert [one.id for one in catalogue.gpu_models] == ["ours", "nvidia-l40s"]
    assert name_of(catalogue, "10de:26b9") == "Ours"


def test_an_operator_s_name_for_a_model_of_the_table_is_its_name():
    catalogue = parse_catalogue(data_center() + gpu_model("nvidia-l40s", "L40S (compute mode)", "") + L40S)
    assert [one.model_name for one in catalogue.gpu_models] == ["L40S (compute mode)"]
    assert name_of(catalogue, "10de:26b9") == "L40S (compute mode)"


def test_an_operator_s_model_comes_before_the_table_s_and_a_subsystem_before_all():
    catalogue = parse_catalogue(
        "machine_types = []\n"
        + data_center()
        + gpu_model("ours", "Ours", '["10de:26b9", "1002:744c"]')
        + gpu_model("xtx", "7900 XTX", '["1002:744c:1da2:e471"]')
    )
    assert name_of(catalogue, "10de:26b9") == "Ours"
    assert name_of(catalogue, "1002:744c", "1da2:e471") == "7900 XTX"
    assert name_of(catalogue, "1002:744c", "1da2:ffff") == "Ours"


@pytest.mark.parametrize(
    ("models", "complaint"),
    [
        (gpu_model("a", "A", '["10DE:2330"]'), "gpu_models[0].pci_ids[0]: '10DE:2330' is not accepted"),
        (gpu_model("a", "A", '["10de"]'), "pci_ids[0]: '10de' is not accepted"),
        (
            gpu_model("a", "A", '["10de:1"]').replace("10de:1", "10de:0001")
            + gpu_model("b", "B", '["10de:0001"]'),
            "gpu_models[1].pci_ids: '10de:0001' is not accepted; expected ids that no other model has; 'a' does",
        ),
        (gpu_model("a", "A", "") + 'fabric = "ring"', "fabric: 'ring' is not accepted"),
    ],
)
def test_ids_that_are_wrong_or_taken_are_refused(models, complaint):
    with pytest.raises(Invalid) as refused:
        parse_catalogue("machine_types = []\n" + data_center() + models)
    assert complaint in refused.value.message


def test_made_up_cards_are_known_as_the_catalogue_s_model_of_that_name():
    offered = parse_catalogue(data_center() + L40S)
    assert name_of(with_gpus(offered, "L40S", "c0de:0001"), "c0de:0001") == "L40S"
    assert name_of(with_gpus(read_catalogue(None), "New", "c0de:0001"), "c0de:0001") == "New"
    assert replace(offered, gpu_models=()) == replace(with_gpus(offered, "L40S", "c0de:0001"), gpu_models=())
